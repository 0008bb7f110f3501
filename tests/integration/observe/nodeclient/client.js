// node client.js ADDRESS FILE: what the server at ADDRESS is found to offer, what its root holds, and FILE's contents,
// as JSON. Written from docs/protocol.md alone.
"use strict";
const path = require("path");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");
const protobuf = require("protobufjs");
require("protobufjs/ext/descriptor");

const OPTIONS = { longs: String, defaults: true, keepCase: true };
const OREAD = 0;
const FID_ROOT = 1, FID_DIR = 2;

// A bidirectional stream as a function: each call sends a message and returns the next one that comes.
class Asking {
  constructor(stream) {
    this.stream = stream;
    this.waiting = [];
    this.come = [];
    stream.on("data", (message) => (this.waiting.length ? this.waiting.shift().resolve(message) : this.come.push(message)));
    stream.on("error", (error) => this.waiting.splice(0).forEach((waiter) => waiter.reject(error)));
  }
  next() {
    if (this.come.length) return Promise.resolve(this.come.shift());
    return new Promise((resolve, reject) => this.waiting.push({ resolve, reject }));
  }
  ask(message) {
    this.stream.write(message);
    return this.next();
  }
}

// Every file that the server's reflection knows of the service whose name ends in `.Sigma`, as one FileDescriptorSet.
async function reflect(address) {
  const definition = loader.loadSync(path.join(__dirname, "reflection.proto"), OPTIONS);
  const { ServerReflection } = grpc.loadPackageDefinition(definition).grpc.reflection.v1alpha;
  const client = new ServerReflection(address, grpc.credentials.createInsecure());
  const stream = client.ServerReflectionInfo();
  const asking = new Asking(stream);
  const listed = await asking.ask({ list_services: "" });
  const services = listed.list_services_response.service.map((service) => service.name);
  const service = services.find((name) => name.endsWith(".Sigma"));
  const found = await asking.ask({ file_containing_symbol: service });
  stream.end();
  client.close();
  const files = found.file_descriptor_response.file_descriptor_proto;
  return { services, service, set: protobuf.descriptor.FileDescriptorSet.decode(setOf(files)) };
}

// A FileDescriptorSet's only field is 1, repeated.
function setOf(files) {
  const writer = protobuf.Writer.create();
  for (const file of files) writer.uint32(10).bytes(file);
  return writer.finish();
}

function find(root, name) {
  return name.split(".").reduce((here, part) => here[part], root);
}

class Session {
  constructor(stream) {
    this.asking = new Asking(stream);
    this.seqno = 0;
  }
  async greet() {
    const id = BigInt("0x" + require("crypto").randomBytes(8).toString("hex")) | 1n;
    const { welcome } = await this.asking.ask({ hello: { session_id: id.toString() } });
    if (!welcome.accepted) throw new Error(`not welcome: ${JSON.stringify(welcome.error)}`);
  }
  async call(op, message) {
    const seqno = String(++this.seqno);
    let frames = await this.asking.ask({ requests: [{ seqno, [op]: message }] });
    while (!frames.replies.length) frames = await this.asking.next();
    const reply = frames.replies[0];
    this.asking.stream.write({ acks: [reply.seqno] });
    if (reply.error) throw new Error(`${op}: ${JSON.stringify(reply.error)}`);
    return reply[op];
  }
  bye() {
    this.asking.stream.write({ bye: true });
    this.asking.stream.end();
  }
}

// Entries: each a length of 4 bytes, little-endian, and a Stat.
function entriesOf(data, Stat) {
  const entries = [];
  for (let at = 0; at < data.length; ) {
    const size = data.readUInt32LE(at);
    entries.push(Stat.decode(data.subarray(at + 4, at + 4 + size)).name);
    at += 4 + size;
  }
  return entries;
}

async function main(address, file) {
  const { services, service, set } = await reflect(address);
  const packages = grpc.loadPackageDefinition(loader.loadFileDescriptorSetFromObject(set.toJSON(), OPTIONS));
  const Stat = protobuf.Root.fromDescriptor(set).lookupType(service.replace(/Sigma$/, "Stat"));
  const client = new (find(packages, service))(address, grpc.credentials.createInsecure());
  const session = new Session(client.Session());
  await session.greet();
  await session.call("attach", { fid: FID_ROOT, client_id: 1 });
  await session.call("walk", { fid: FID_ROOT, newfid: FID_DIR, names: [] });
  await session.call("open", { fid: FID_DIR, mode: OREAD });
  const names = [];
  for (;;) {
    const { data } = await session.call("read", { fid: FID_DIR, offset: 0, count: 65536 });
    if (!data.length) break;
    names.push(...entriesOf(data, Stat));
  }
  await session.call("clunk", { fid: FID_DIR });
  const got = await session.call("getfile", { fid: FID_ROOT, names: [file], count: 65536 });
  session.bye();
  client.close();
  process.stdout.write(JSON.stringify({ services, names, contents: got.data.toString() }) + "\n");
}

main(process.argv[2], process.argv[3]).catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});
