/** A server that one test has for itself. It keeps its address and its data over `stop` and `start`. */
export interface TestServer {
  readonly host: string;
  readonly port: number;
  /** Stops it in an orderly way; connections are closed. */
  stop(): Promise<void>;
  /** As `kill -9` does. */
  kill(): Promise<void>;
  /** Starts it again and resolves when it answers. Its data is as it was left. */
  start(): Promise<void>;
  /** Ends it for good and removes its data. */
  close(): Promise<void>;
}

export interface PostgresServer extends TestServer {
  /** Its database `postgres`, as superuser. */
  readonly dsn: string;
}

export interface RedisServer extends TestServer {
  readonly password: string | null;
}
