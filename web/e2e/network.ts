import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";

/**
 * The network of a browser: a SOCKS 5 proxy that can fail silently, as networks do. Pass `proxy` to
 * a browser's context.
 */
export class Network {
  private readonly ways = new Set<Way>();
  private isCut = false;

  private constructor(private readonly server: Server) {
    server.on("connection", (near) => this.open(near));
  }

  static async start(): Promise<Network> {
    const server = createServer({ allowHalfOpen: true });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return new Network(server);
  }

  get proxy(): { server: string } {
    const address = this.server.address();
    if (address === null || typeof address === "string") throw new Error("the network is stopped");
    return { server: `socks5://127.0.0.1:${address.port}` };
  }

  /** From now on no data passes, in either direction. Connections stay open; new ones wait. */
  cut(): void {
    this.isCut = true;
    for (const way of this.ways) way.hold();
  }

  /** Held data passes, as TCP retransmits after an outage. */
  heal(): void {
    this.isCut = false;
    for (const way of this.ways) way.pass();
  }

  /**
   * New connections pass. Old ones stay dead without being closed: as after a sleep, in another
   * network, or behind a router that lost its state.
   */
  healElsewhere(): void {
    this.isCut = false;
    for (const way of this.ways) way.forget();
  }

  /** Closes every connection, and lets new ones pass. */
  sever(): void {
    for (const way of this.ways) way.end();
  }

  stop(): void {
    this.server.close();
    this.sever();
  }

  private open(near: Socket): void {
    const way = new Way(near, () => this.ways.delete(way));
    this.ways.add(way);
    if (this.isCut) way.hold();
  }
}

/** One connection of the browser, and the one to its destination. */
class Way {
  private far: Socket | null = null;
  private isLost = false;

  constructor(
    private readonly near: Socket,
    private readonly ended: () => void,
  ) {
    near.on("error", () => this.end());
    near.on("close", () => this.end());
    this.greet().catch(() => this.end());
  }

  hold(): void {
    this.near.pause();
    this.far?.pause();
  }

  pass(): void {
    if (this.isLost) return;
    this.near.resume();
    this.far?.resume();
  }

  forget(): void {
    this.isLost = true;
    this.hold();
  }

  end(): void {
    this.near.destroy();
    this.far?.destroy();
    this.ended();
  }

  /** The SOCKS handshake: the methods the browser offers, then its destination. */
  private async greet(): Promise<void> {
    await once(this.near, "data");
    this.near.write(Buffer.from([VERSION, NO_PASSWORD]));
    const [wish] = (await once(this.near, "data")) as [Buffer];
    const far = connect({ ...address(wish), allowHalfOpen: true });
    this.far = far;
    far.on("error", () => this.end());
    far.on("close", () => this.end());
    await once(far, "connect");
    join(this.near, far);
    join(far, this.near);
    // The bound address in the reply is not used.
    this.near.write(Buffer.from([VERSION, DONE, 0, IPV4, 0, 0, 0, 0, 0, 0]));
    if (this.near.isPaused()) this.hold();
  }
}

const VERSION = 5;
const NO_PASSWORD = 0;
const DONE = 0;
const IPV4 = 1;
const NAME = 3;

/** Reads `5 1 0 <kind> <address> <port>`. */
function address(wish: Buffer): { host: string; port: number } {
  const port = wish.readUInt16BE(wish.length - 2);
  switch (wish[3]) {
    case IPV4:
      return { host: wish.subarray(4, 8).join("."), port };
    case NAME:
      return { host: wish.subarray(5, -2).toString(), port };
    default:
      throw new Error("the network leads to IPv4 addresses and names only");
  }
}

/** Forwards data and the end of one side. */
function join(from: Socket, to: Socket): void {
  from.on("data", (said) => to.write(said));
  from.on("end", () => to.end());
}
