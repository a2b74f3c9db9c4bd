import type { ServerHttp2Session } from 'node:http2';
import type { Server as NetServer, Socket } from 'node:net';
import type { FastifyInstance } from 'fastify';
import type { Clock } from '../../domain/clock.ts';
import type { OpenReplies } from '../open-replies.ts';

/** A listener with its routes. */
export interface Server {
  /** Starts to listen; port 0 takes any that is free. Resolves with the URL. */
  listen(at: { host: string; port: number }): Promise<string>;
  /**
   * Stops in two steps. For `noticeSeconds` (none unless given) readiness answers 503 and all else goes on, so that load balancers look
   * elsewhere. Then new connections are refused, idle ones are closed and calls under way finish; what is still open after
   * `graceSeconds` is cut. Resolves when all connections are gone.
   */
  drain(graceSeconds: number, noticeSeconds?: number): Promise<void>;
  /** For tests that look at the routes. */
  readonly app: FastifyInstance;
}

/** Knows the connections and HTTP/2 sessions of one Fastify instance, so that it can end them in order. */
export class ListeningServer implements Server {
  readonly app: FastifyInstance;
  readonly #clock: Clock;
  readonly #open: OpenReplies;
  readonly #sockets = new Set<Socket>();
  readonly #sessions = new Set<ServerHttp2Session>();
  #drained: Promise<void> | null = null;

  constructor(app: FastifyInstance, clock: Clock, open: OpenReplies) {
    this.app = app;
    this.#clock = clock;
    this.#open = open;
    const server: NetServer = app.server;
    server.on('session', (session: ServerHttp2Session) => {
      this.#sessions.add(session);
      session.once('close', () => this.#sessions.delete(session));
    });
    server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
  }

  get draining(): boolean {
    return this.#drained !== null;
  }

  listen(at: { host: string; port: number }): Promise<string> {
    return this.app.listen(at);
  }

  drain(graceSeconds: number, noticeSeconds = 0): Promise<void> {
    this.#drained ??= this.#notice(noticeSeconds).then(() => this.#close(graceSeconds));
    return this.#drained;
  }

  #notice(seconds: number): Promise<void> {
    if (seconds === 0) return Promise.resolve();
    return new Promise((resolve) => void this.#clock.schedule(seconds * 1000, resolve));
  }

  async #close(graceSeconds: number): Promise<void> {
    this.#open.close();
    // Node's http2 servers leave their sessions open. This sends GOAWAY and lets the streams under way finish.
    for (const session of this.#sessions) session.close();
    // Node's HTTP/1.1 servers count a connection that never sent anything among the busy ones.
    if ('closeIdleConnections' in this.app.server) {
      for (const socket of this.#sockets) if (socket.bytesRead === 0) socket.destroy();
    }
    const cancel = this.#clock.schedule(graceSeconds * 1000, () => {
      for (const socket of this.#sockets) socket.destroy();
    });
    try {
      await this.app.close();
    } finally {
      cancel();
    }
  }
}
