// node client.js ADDRESS FILE KIND: what the server at ADDRESS is found to offer, what its root holds, and FILE's
// contents, as JSON, over connections of KIND: grpc or plain. Written from docs/protocol.md alone.
"use strict";
const crypto = require("crypto");
const net = require("net");
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

const HAS_PAYLOAD = 0x80000000;

// A plain connection, as a stream of messages: each a length of 4 bytes, little-endian, and a Frames; or, with the
// length's highest bit set, that, the length of a payload, a Frames, and the payload, which is its reply's data.
class Plain extends require("events").EventEmitter {
  constructor(address, Frames) {
    super();
    const colon = address.lastIndexOf(":");
    this.Frames = Frames;
    this.buffer = Buffer.alloc(0);
    this.socket = net.connect(Number(address.slice(colon + 1)), address.slice(0, colon));
    this.socket.setNoDelay(true);
    this.socket.on("data", (data) => this.cut(Buffer.concat([this.buffer, data])));
    this.socket.on("error", (error) => this.emit("error", error));
    this.socket.on("close", () => this.emit("error", new Error("the server closed the connection")));
  }
  cut(buffer) {
    for (;;) {
      if (buffer.length < 8 && !(buffer.length >= 4 && buffer.readUInt32LE(0) < HAS_PAYLOAD)) break;
      const length = buffer.readUInt32LE(0);
      const begin = length < HAS_PAYLOAD ? 4 : 8;
      const end = begin + (length % HAS_PAYLOAD);
      const payloadEnd = end + (begin === 8 ? buffer.readUInt32LE(4) : 0);
      if (buffer.length < payloadEnd) break;
      const frames = this.Frames.toObject(this.Frames.decode(buffer.subarray(begin, end)), { longs: String, defaults: true, bytes: Buffer });
      if (begin === 8) put(frames.replies[0], buffer.subarray(end, payloadEnd));
      buffer = buffer.subarray(payloadEnd);
      this.emit("data", frames);
    }
    this.buffer = buffer;
  }
  write(message) {
    const data = this.Frames.encode(this.Frames.fromObject(message)).finish();
    const size = Buffer.alloc(4);
    size.writeUInt32LE(data.length);
    this.socket.write(Buffer.concat([size, data]));
  }
  end() {
    this.removeAllListeners("error").on("error", () => {});
    this.socket.end();
  }
}

// A payload to where it belongs; this client makes no calls, whose last frame it would be.
function put(reply, payload) {
  (reply.read || reply.getfile).data = payload;
}

class Session {
  constructor(stream) {
    this.asking = new Asking(stream);
    this.seqno = 0;
    this.id = (BigInt("0x" + crypto.randomBytes(8).toString("hex")) | 1n).toString();
    this.key = crypto.randomBytes(16);
  }
  async greet() {
    return (await this.hello(this.asking, { token: process.env.SIGMAOS_TOKEN })).plain;
  }
  async hello(asking, more) {
    const { welcome } = await asking.ask({ hello: { session_id: this.id, key: this.key, payloads: true, ...more } });
    if (!welcome.accepted) throw new Error(`not welcome: ${JSON.stringify(welcome.error)}`);
    return welcome;
  }
  // One more connection, for one call, which it then leaves.
  async callBeside(stream, op, message) {
    const asking = new Asking(stream);
    await this.hello(asking, { bind: true });
    const got = await this.call(op, message, asking);
    const pong = await asking.ask({ ping: true });
    if (!pong.pong) throw new Error("a ping was not answered");
    stream.write({ unbind: true });
    // In no session by now: it may be the main one of another.
    const other = new Session(stream);
    other.asking = asking;
    await other.greet();
    const bye = await asking.ask({ bye: true });
    if (!bye.bye) throw new Error("a goodbye was not answered");
    stream.end();
    return got;
  }
  async call(op, message, asking = this.asking) {
    const seqno = String(++this.seqno);
    let frames = await asking.ask({ requests: [{ seqno, [op]: message }] });
    while (!frames.replies.length) frames = await asking.next();
    const reply = frames.replies[0];
    asking.stream.write({ acks: [reply.seqno] });
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

// A session at the server; where it takes plain connections is what its welcome on a stream says.
async function open(client, Frames, kind) {
  const session = new Session(client.Session());
  const plain = await session.greet();
  if (kind === "grpc") return { session, plain };
  session.bye();
  const other = new Session(new Plain(plain, Frames));
  await other.greet();
  return { session: other, plain };
}

async function main(address, file, kind) {
  const { services, service, set } = await reflect(address);
  const packages = grpc.loadPackageDefinition(loader.loadFileDescriptorSetFromObject(set.toJSON(), OPTIONS));
  const types = protobuf.Root.fromDescriptor(set);
  const Stat = types.lookupType(service.replace(/Sigma$/, "Stat"));
  const Frames = types.lookupType(service.replace(/Sigma$/, "Frames"));
  const client = new (find(packages, service))(address, grpc.credentials.createInsecure());
  const { session, plain } = await open(client, Frames, kind);
  await session.call("attach", { fid: FID_ROOT, client_id: 1, token: process.env.SIGMAOS_TOKEN });
  await session.call("walk", { fid: FID_ROOT, newfid: FID_DIR, names: [] });
  await session.call("open", { fid: FID_DIR, mode: OREAD });
  const names = [];
  for (;;) {
    const { data } = await session.call("read", { fid: FID_DIR, offset: 0, count: 65536 });
    if (!data.length) break;
    names.push(...entriesOf(data, Stat));
  }
  await session.call("clunk", { fid: FID_DIR });
  const getfile = { fid: FID_ROOT, names: [file], count: 65536 };
  const got = await session.call("getfile", getfile);
  const beside = await session.callBeside(new Plain(plain, Frames), "getfile", getfile);
  session.bye();
  client.close();
  process.stdout.write(JSON.stringify({ services, names, contents: got.data.toString(), beside: beside.data.toString() }) + "\n");
}

main(process.argv[2], process.argv[3], process.argv[4]).catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});
