import { LRUCache } from 'lru-cache';
import { z } from 'zod';
import type { Clock } from '../../domain/clock.ts';
import { deadlineExceeded } from '../../domain/errors.ts';
import type { RuntimeStore } from '../../domain/runtime-store.ts';
import type { SealedSecret, SecretSealer } from '../../domain/sealing.ts';
import { Secret } from '../../domain/secret.ts';
import type { GitHubAppApi, InstallationToken } from './app-api.ts';
import { sortedPermissions } from './permissions.ts';
import type { TokenRequest, TokenSource } from './token-source.ts';
import { untilAborted } from './transfer.ts';

export interface AppTokensConfig {
  api: GitHubAppApi;
  /** Tells tokens of several Apps and GitHubs in one runtime store apart. */
  realm: readonly string[];
  runtime: Pick<RuntimeStore, 'claim' | 'keep' | 'kept'>;
  sealer: SecretSealer;
  clock: Clock;
  /** Names this process among those that share the runtime store. */
  processId: string;
}

/** About 1 KiB each. */
const MAX_TOKENS = 10_000;
/** A token is not used in its last minutes: the call that it goes along with must end before it does, also by GitHub's clock. */
const UNUSED_BEFORE_END_MS = 5 * 60 * 1000;
const MINT_TIMEOUT_SECONDS = 10;
/** For one process to make a token, and how long the others wait for it; then each makes its own. */
const CLAIM_SECONDS = 10;
const WAIT_MS = 3000;
const LOOK_AGAIN_MS = 100;

const sharedToken = z.object({ token: z.string(), expiresAt: z.iso.datetime() });

/**
 * Installation tokens of a GitHub App, each for one repository and one set of permissions. One serves all who ask until shortly before
 * it ends, in this process and in those that share the runtime store, where it lies sealed; however many ask at once, it is made once.
 */
export function makeAppTokens(config: AppTokensConfig): TokenSource {
  const ready = new LRUCache<string, InstallationToken>({ max: MAX_TOKENS });
  const underWay = new Map<string, Promise<InstallationToken>>();

  const isGood = (found: InstallationToken | null | undefined, refused: Secret | null): found is InstallationToken =>
    found !== null &&
    found !== undefined &&
    found.token.reveal() !== refused?.reveal() &&
    config.clock.now().getTime() < found.expiresAt.getTime() - UNUSED_BEFORE_END_MS;

  const begin = (key: string, request: TokenRequest): Promise<InstallationToken> => {
    const made = obtain(config, key, request, (found) => isGood(found, request.refused));
    const known = made.then((found) => void ready.set(key, found)).finally(() => underWay.delete(key));
    const found = known.then(() => made);
    underWay.set(key, found);
    return found;
  };

  return {
    async tokenFor(request) {
      const key = keyOf(config, request);
      const known = ready.get(key);
      if (isGood(known, request.refused)) return known.token;
      for (;;) {
        const others = underWay.get(key);
        if (others === undefined) return (await begin(key, request)).token;
        const found = await others;
        // Whoever began it may have been content with the token that this one was refused.
        if (isGood(found, request.refused)) return found.token;
      }
    },
  };
}

/** From the runtime store, or made now. */
async function obtain(
  config: AppTokensConfig,
  key: string,
  { repository, permissions }: TokenRequest,
  isGood: (found: InstallationToken | null) => found is InstallationToken,
): Promise<InstallationToken> {
  const { clock, runtime } = config;
  const kept = await findKept(config, key);
  if (isGood(kept)) return kept;
  const now = clock.now();
  const claimedUntil = new Date(now.getTime() + CLAIM_SECONDS * 1000);
  if (!(await runtime.claim('mint', key, config.processId, claimedUntil, now))) {
    for (let waited = 0; waited < WAIT_MS; waited += LOOK_AGAIN_MS) {
      await pause(clock, LOOK_AGAIN_MS);
      const theirs = await findKept(config, key);
      if (isGood(theirs)) return theirs;
    }
  }
  const made = await withinSeconds(clock, MINT_TIMEOUT_SECONDS, (signal) =>
    config.api.mint(repository, permissions, signal),
  );
  await keep(config, key, made);
  return made;
}

async function findKept({ runtime, sealer, clock }: AppTokensConfig, key: string): Promise<InstallationToken | null> {
  const sealed = await runtime.kept('github_token', key, clock.now());
  if (sealed === null) return null;
  try {
    const opened = await sealer.open(sealed as SealedSecret, { purpose: 'shared_token', key });
    const { token, expiresAt } = sharedToken.parse(JSON.parse(opened));
    return { token: new Secret(token), expiresAt: new Date(expiresAt) };
  } catch {
    // Altered, or sealed under a key that this process has not got. It is of no use, and is replaced; where no key is to be had at
    // all, that fails when the new one is sealed.
    return null;
  }
}

async function keep({ runtime, sealer, clock }: AppTokensConfig, key: string, made: InstallationToken): Promise<void> {
  const usedUntil = new Date(made.expiresAt.getTime() - UNUSED_BEFORE_END_MS);
  const content = { token: made.token.reveal(), expiresAt: made.expiresAt.toISOString() };
  const sealed = await sealer.seal(JSON.stringify(content), { purpose: 'shared_token', key });
  await runtime.keep('github_token', key, sealed, usedUntil, clock.now());
}

/** GitHub knows no case in names. */
function keyOf({ realm }: AppTokensConfig, { repository: { owner, repo }, permissions }: TokenRequest): string {
  return JSON.stringify([...realm, `${owner}/${repo}`.toLowerCase(), sortedPermissions(permissions)]);
}

const pause = (clock: Clock, ms: number): Promise<void> => new Promise((resolve) => clock.schedule(ms, resolve));

/** Not by the signal of one who asks: the others wait for the same token. */
async function withinSeconds<T>(clock: Clock, seconds: number, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const late = new AbortController();
  const cancel = clock.schedule(seconds * 1000, () =>
    late.abort(deadlineExceeded(`GitHub did not make a token within ${seconds} seconds`)),
  );
  try {
    return await untilAborted(late.signal, () => work(late.signal));
  } finally {
    cancel();
  }
}
