import { type Listeners, selfSigned, startListeners } from './listeners.ts';
import {
  connectClient,
  connectJsonClient,
  grpcClient,
  grpcWebClient,
  jsonClient,
  type TransportClient,
} from './transports.ts';

/** Every way in: those in clear, and those over TLS. */
export const TRANSPORT_NAMES = [
  'JSON',
  'Connect JSON',
  'Connect',
  'gRPC-Web',
  'gRPC over h2c',
  'JSON, TLS port',
  'Connect, TLS port',
  'gRPC-Web, TLS port',
  'gRPC over TLS',
  'gRPC over TLS, gRPC port',
] as const;
export type TransportName = (typeof TRANSPORT_NAMES)[number];

/** A client of one transport, and the listeners that it reaches. */
export interface Reached {
  client: TransportClient;
  listeners: Listeners;
}

/** Listeners in clear and over TLS, and a client for each way to reach them. */
export class EveryTransport {
  readonly #reached: Readonly<Record<TransportName, Reached>>;
  readonly #listeners: readonly Listeners[];

  private constructor(clear: Listeners, secure: Listeners, ca: string) {
    const inClear = (client: TransportClient): Reached => ({ client, listeners: clear });
    const overTls = (client: TransportClient): Reached => ({ client, listeners: secure });
    this.#listeners = [clear, secure];
    this.#reached = {
      JSON: inClear(jsonClient(clear.httpUrl)),
      'Connect JSON': inClear(connectJsonClient(clear.httpUrl)),
      Connect: inClear(connectClient(clear.httpUrl)),
      'gRPC-Web': inClear(grpcWebClient(clear.httpUrl)),
      'gRPC over h2c': inClear(grpcClient(clear.grpcUrl)),
      'JSON, TLS port': overTls(jsonClient(secure.httpUrl, ca)),
      'Connect, TLS port': overTls(connectClient(secure.httpUrl, ca)),
      'gRPC-Web, TLS port': overTls(grpcWebClient(secure.httpUrl, ca)),
      'gRPC over TLS': overTls(grpcClient(secure.httpUrl, ca)),
      'gRPC over TLS, gRPC port': overTls(grpcClient(secure.grpcUrl, ca)),
    };
  }

  static async open(): Promise<EveryTransport> {
    const tls = selfSigned();
    const [clear, secure] = await Promise.all([startListeners(), startListeners({ tls })]);
    return new EveryTransport(clear, secure, tls.cert);
  }

  using(name: TransportName): Reached {
    return this.#reached[name];
  }

  /** Makes every broker answer well again, and forget what it was asked. */
  reset(): void {
    for (const { broker, logged } of this.#listeners) {
      broker.reset();
      logged.length = 0;
    }
  }

  async close(): Promise<void> {
    for (const { client } of Object.values(this.#reached)) client.close();
    await Promise.all(this.#listeners.map((listeners) => listeners.close()));
  }
}
