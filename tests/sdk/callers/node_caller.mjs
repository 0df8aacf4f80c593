// Makes the calls it is told, a JSON line each, with the Appwrite SDK of the directory that it runs in.
// Orders and answers are those of python_caller.py; the package is named on the command line.

import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(`${process.cwd()}/`);
const sdk = require(process.argv[2]);
const isForBrowsers = process.argv[2] === "appwrite";

const services = {};
for (const name of ["account", "databases", "messaging", "storage", "users"]) {
  const Service = sdk[name[0].toUpperCase() + name.slice(1)];
  if (Service) services[name] = Service;
}
const makers = { ID: sdk.ID, Permission: sdk.Permission, Query: sdk.Query, Role: sdk.Role };

if (isForBrowsers) {
  pretendToBeAPage("http://localhost");
} else {
  makers.InputFile = require(`${process.argv[2]}/file`).InputFile;
}

// What the SDK finds in a browser: a place for the session, and an Origin on every request.
function pretendToBeAPage(origin) {
  const kept = new Map();
  const localStorage = { getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => kept.set(key, value) };
  globalThis.window = { localStorage, console };
  const fetch = globalThis.fetch;
  globalThis.fetch = (address, options) =>
    fetch(address, { ...options, headers: { ...options.headers, Origin: origin } });
}

// The newer SDKs take one object, the older ones a row of arguments.
function parametersOf(method) {
  const source = method.toString();
  if (source.includes("paramsOrFirst")) {
    return { areNamed: true, names: [...new Set(Array.from(source.matchAll(/params\.(\w+)/g), ([, name]) => name))] };
  }
  const row = source.slice(source.indexOf("(") + 1, source.indexOf(")"));
  return { areNamed: false, names: Array.from(row.matchAll(/\w+(?=\s*(?:[,=]|$))/g), ([name]) => name) };
}

function methodsOf(Service) {
  const names = Object.getOwnPropertyNames(Service.prototype).filter((name) => name !== "constructor");
  const folded = (method) => parametersOf(method).names.map((name) => name.toLowerCase());
  return Object.fromEntries(names.map((name) => [name, folded(Service.prototype[name])]));
}

async function answer(order) {
  const client = new sdk.Client();
  for (const [name, value] of Object.entries(order.access)) {
    client[name === "jwt" ? "setJWT" : `set${name[0].toUpperCase()}${name.slice(1)}`](value);
  }
  const service = new services[order.service](client);
  const { areNamed, names } = parametersOf(service[order.method]);
  const given = Object.fromEntries(Object.entries(order.arguments).map(([name, value]) => [name, make(value)]));
  try {
    const row = areNamed ? [given] : names.map((name) => given[name]);
    return { answer: await describe(await service[order.method](...row)) };
  } catch (error) {
    if (!(error instanceof sdk.AppwriteException)) throw error;
    return { refused: { code: error.code, type: error.type, message: error.message } };
  }
}

// Whatever the SDK itself is to build: {"make": ["Query", "limit", 5]}.
function make(value) {
  if (Array.isArray(value)) return value.map(make);
  if (value?.make) {
    const [maker, name, ...given] = value.make;
    return makers[maker][name](...given.map(make));
  }
  return value;
}

// Bytes by their fingerprint.
function describe(result) {
  if (!(result instanceof ArrayBuffer || ArrayBuffer.isView(result))) return result;
  const bytes = Buffer.from(result);
  return { bytes: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex") };
}

const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

say(Object.fromEntries(Object.entries(services).map(([name, Service]) => [name, methodsOf(Service)])));
for await (const line of createInterface({ input: process.stdin })) say(await answer(JSON.parse(line)));
