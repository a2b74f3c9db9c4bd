import { readFileSync } from 'node:fs';
import type { Cluster, Redis, Result } from 'ioredis';

type Argument = string | number;

/** The scripts of lua/, as commands of the client: it sends the hash of each, and its text to a server that does not know it yet. */
declare module 'ioredis' {
  interface RedisCommander<Context> {
    asbAcquireSlot(handle: string, slots: string, ...rest: Argument[]): Result<unknown, Context>;
    asbSeedHandle(handle: string, slots: string, ...rest: Argument[]): Result<unknown, Context>;
    asbSpendBytes(handle: string, slots: string, ...rest: Argument[]): Result<unknown, Context>;
    asbReleaseSlot(handle: string, slots: string, ...rest: Argument[]): Result<unknown, Context>;
    asbCountSlots(handle: string, slots: string, now: number): Result<unknown, Context>;
    asbRevokeToken(mark: string, ...rest: Argument[]): Result<unknown, Context>;
    asbClaim(claim: string, ...rest: Argument[]): Result<unknown, Context>;
    asbClaimProof(claim: string, memory: string, ...rest: Argument[]): Result<unknown, Context>;
  }
}

/** Each with how many keys it takes; those of one script share a hash tag, so that it runs on one node of a cluster. */
const SCRIPTS = [
  ['asbAcquireSlot', 'acquire-slot', 2],
  ['asbSeedHandle', 'seed-handle', 2],
  ['asbSpendBytes', 'spend-bytes', 2],
  ['asbReleaseSlot', 'release-slot', 2],
  ['asbCountSlots', 'count-slots', 2],
  ['asbRevokeToken', 'revoke-token', 1],
  ['asbClaim', 'claim', 1],
  ['asbClaimProof', 'claim-proof', 2],
] as const;

const LOADED = SCRIPTS.map(([command, file, numberOfKeys]) => ({
  command,
  numberOfKeys,
  lua: readFileSync(new URL(`lua/${file}.lua`, import.meta.url), 'utf8'),
}));

/** Makes the scripts known to a client. */
export function defineScripts(client: Redis | Cluster): void {
  for (const { command, lua, numberOfKeys } of LOADED) client.defineCommand(command, { lua, numberOfKeys });
}
