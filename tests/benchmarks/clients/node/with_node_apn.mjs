// APNs by @parse/node-apn: streams of the one connection it keeps.

import { readFileSync } from "node:fs";
import { host, port, addressOf, require, runClient, SENT, terms } from "./orders.mjs";

const apn = require("@parse/node-apn");
const { account, content } = terms;

const provider = new apn.Provider({
  token: { key: Buffer.from(account.authKey), keyId: account.authKeyId, teamId: account.teamId },
  ca: [readFileSync(terms.ca_file)],
  address: host,
  port,
  production: true,
});

await runClient(terms.in_flight, async (recipient) => {
  const notification = new apn.Notification({
    topic: account.bundleId,
    alert: { title: content.title, body: content.body },
    pushType: "alert",
    priority: 10,
    expiry: Math.floor(Date.now() / 1000) + 86400,
    collapseId: `1-${recipient}`,
  });
  const { sent, failed } = await provider.send(notification, addressOf(recipient));
  return sent.length ? [SENT, ""] : [JSON.stringify(failed[0]), ""];
});
