// What the client programs in JavaScript have in common: those of orders.py and outcomes.py, word for word.
// Packages are those of the directory that the program runs in.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { finished } from "node:stream/promises";

export const require = createRequire(`${process.cwd()}/`);
export const terms = JSON.parse(process.argv[2]);
export const SENT = "sent";

const ROWS_PER_COMMIT = 500;
const COPY = "COPY client_outcomes (run, recipient, state, provider_message_id) FROM STDIN";

const url = new URL(terms.origin);
export const host = url.hostname;
export const port = Number(url.port);

export function addressOf(recipient) {
  const { prefix, digits, suffix } = terms.addresses;
  return prefix + String(recipient).padStart(digits, "0") + suffix;
}

class Outcomes {
  constructor(database, run) {
    this.database = database;
    this.run = run;
    this.rows = [];
    this.writing = Promise.resolve();
  }

  add(row) {
    this.rows.push(row);
    if (this.rows.length >= ROWS_PER_COMMIT) this.write();
  }

  write() {
    const rows = this.rows;
    this.rows = [];
    const text = rows.map((row) => [this.run, ...row].join("\t") + "\n").join("");
    this.writing = this.writing.then(async () => {
      const { from } = require("pg-copy-streams");
      const stream = this.database.query(from(COPY));
      stream.end(text);
      await finished(stream);
    });
  }

  async close() {
    this.write();
    await this.writing;
  }
}

// `send` resolves to [state, id of the message at the provider].
async function obey({ run, first, total, is_recorded }, calls, send, database) {
  const started_at = Date.now() / 1000;
  const outcomes = is_recorded ? new Outcomes(database, run) : null;
  const failures = [];
  let next = first;
  const sendSome = async () => {
    while (next < first + total) {
      const recipient = next++;
      const [state, id] = await send(recipient);
      if (state !== SENT) failures.push(state);
      if (outcomes) outcomes.add([recipient, state, id]);
    }
  };
  await Promise.all(Array.from({ length: calls }, sendSome));
  if (outcomes) await outcomes.close();
  return { started_at, ended_at: Date.now() / 1000, failures: failures.slice(0, 3) };
}

export async function runClient(calls, send) {
  const { Client } = require("pg");
  const database = new Client({ connectionString: terms.database_url });
  await database.connect();
  for await (const line of createInterface({ input: process.stdin })) {
    console.log(JSON.stringify(await obey(JSON.parse(line), calls, send, database)));
  }
  process.exit(0);
}
