import { Redis } from 'ioredis';

/** Counts what clients ask of a Redis; what a script does inside is not asked by a client. */
export interface RedisCommands {
  /** How many commands there were since it was last asked. */
  take(): Promise<number>;
  stop(): Promise<void>;
}

export async function countRedisCommands(server: { host: string; port: number }): Promise<RedisCommands> {
  const client = new Redis(server);
  const monitor = await client.monitor();
  let commands = 0;
  let onMark = (): void => undefined;
  monitor.on('monitor', (_time: string, [command, argument]: string[], source: string) => {
    if (argument === MARK) onMark();
    else if (source !== 'lua' && command !== 'ping') commands += 1;
  });
  return {
    async take() {
      // What came before the mark has been seen when the mark is.
      const marked = new Promise<void>((resolve) => (onMark = resolve));
      await client.echo(MARK);
      await marked;
      const taken = commands;
      commands = 0;
      return taken;
    },
    async stop() {
      monitor.disconnect();
      await client.quit();
    },
  };
}

const MARK = 'asb-bench-mark';
