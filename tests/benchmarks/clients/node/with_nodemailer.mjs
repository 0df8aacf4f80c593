// SMTP by nodemailer: its pool of connections, a mail after the other on each, put together from parts made once.

import { host, port, addressOf, require, runClient, SENT, terms } from "./orders.mjs";

const { account, content, in_flight } = terms;

const transport = require("nodemailer").createTransport({
  host,
  port,
  secure: false,
  ignoreTLS: true,
  pool: true,
  maxConnections: in_flight,
  maxMessages: Infinity,
});

const head = `From: ${account.fromEmail}\r\nTo: `;
const tail = `\r\nSubject: ${content.subject}\r\nContent-Type: text/plain; charset="utf-8"\r\n\r\n${content.content}\r\n`;

await runClient(2 * in_flight, async (recipient) => {
  const to = addressOf(recipient);
  const { response } = await transport.sendMail({ envelope: { from: account.fromEmail, to }, raw: head + to + tail });
  return [SENT, response];
});
