import { LRUCache } from 'lru-cache';
import { z } from 'zod';
import type { Clock } from '../../domain/clock.ts';
import { BrokerError, forbidden, upstreamError } from '../../domain/errors.ts';
import { Secret } from '../../domain/secret.ts';
import { type AppRequest, errorFromAppAnswer } from './app-errors.ts';
import { type Permissions, sortedPermissions } from './permissions.ts';
import { isRedirect } from './redirect.ts';
import { isSameName, type RepositoryName } from './repository-name.ts';
import { isSendableToken } from './token-source.ts';
import { readBody, readErrorBody, untilAborted } from './transfer.ts';
import { errorFromFailure } from './translate-error.ts';
import type { Upstream, UpstreamAnswer, UpstreamRequest } from './upstream.ts';

export interface GitHubAppConfig {
  /** Without a trailing slash. */
  base: string;
  appId: string;
  /** PKCS#8 PEM, RSA. */
  privateKey: Secret;
  headers: Readonly<Record<string, string>>;
  upstream: Upstream;
  clock: Clock;
}

/** An installation access token: https://docs.github.com/rest/apps/apps#create-an-installation-access-token-for-an-app */
export interface InstallationToken {
  token: Secret;
  /** An hour from when it was made. */
  expiresAt: Date;
}

/** What ASB asks of GitHub as an App. Each rejects with an abort's reason when its signal aborts, or with `deadline_exceeded`. */
export interface GitHubAppApi {
  /**
   * Has a token made for one repository. Rejects with `not_found` when the App is not installed there; `forbidden` when the
   * installation is suspended, does not include the repository or lacks a permission; `rate_limited`; and `upstream_error`.
   */
  mint(repository: RepositoryName, permissions: Permissions, signal: AbortSignal): Promise<InstallationToken>;
  /** Resolves when GitHub takes the token no more, also when it did not before. Rejects with `upstream_error` or `rate_limited`. */
  revoke(token: Secret, signal: AbortSignal): Promise<void>;
}

const MAX_INSTALLATIONS_KNOWN = 10_000;
/** An App that was moved to another installation is found again within that time, and at once when the old one is gone. */
const INSTALLATION_KNOWN_MS = 60 * 60 * 1000;
/** A token's answer describes one repository, in some kilobytes. */
const MAX_ANSWER_BYTES = 256 * 1024;
const MAX_TOKEN_LENGTH = 4096;

const installationAnswer = z.object({ id: z.int().positive() });
const tokenAnswer = z.object({
  token: z.string().max(MAX_TOKEN_LENGTH).refine(isSendableToken),
  expires_at: z.iso.datetime({ offset: true }).transform((text) => new Date(text)),
  repositories: z.array(z.object({ name: z.string() })).optional(),
});

/** Speaks to GitHub as an App. */
export function makeGitHubAppApi(config: GitHubAppConfig): GitHubAppApi {
  const { base, clock } = config;
  const jwt = appJwt(config);
  const installations = new LRUCache<string, number>({
    max: MAX_INSTALLATIONS_KNOWN,
    ttl: INSTALLATION_KNOWN_MS,
    ttlResolution: 0,
    perf: { now: () => clock.now().getTime() },
  });

  const ask = async (method: 'GET' | 'POST', path: string, body: string | null, signal: AbortSignal) => {
    const headers = { ...config.headers, authorization: `Bearer ${await jwt()}` };
    return exchange(config.upstream, base + path, { method, body, headers, signal });
  };

  const installationOf = (repository: RepositoryName, signal: AbortSignal): Promise<number> =>
    lookUpInstallation(repository, signal).catch((error: unknown) => {
      throw beforeAnyToken(error);
    });

  const lookUpInstallation = async ({ owner, repo }: RepositoryName, signal: AbortSignal): Promise<number> => {
    // https://docs.github.com/rest/apps/apps#get-a-repository-installation-for-the-authenticated-app
    const answer = await ask('GET', `/repos/${owner}/${repo}/installation`, null, signal);
    if (isRedirect(answer.status)) {
      answer.body.destroy();
      throw forbidden('resource_outside_grant', 'GitHub names another repository now; request a grant for its new name', {
        rule: 'grant',
      });
    }
    return (await parsed(answer, 200, 'installation', installationAnswer, signal, clock)).id;
  };

  const requestToken = (installation: number, repo: string, permissions: Permissions, signal: AbortSignal) => {
    const body = JSON.stringify({
      repositories: [repo],
      permissions: Object.fromEntries(sortedPermissions(permissions)),
    });
    return ask('POST', `/app/installations/${installation}/access_tokens`, body, signal);
  };

  const revoke = async (token: Secret, signal: AbortSignal): Promise<void> => {
    // https://docs.github.com/rest/apps/installations#revoke-an-installation-access-token
    const headers = { ...config.headers, authorization: `Bearer ${token.reveal()}` };
    const url = `${base}/installation/token`;
    const answer = await exchange(config.upstream, url, { method: 'DELETE', body: null, headers, signal });
    // 401: it was revoked or ran out before.
    if (answer.status === 204 || answer.status === 401) {
      answer.body.destroy();
      return;
    }
    await parsed(answer, 204, 'revocation', z.never(), signal, clock);
  };

  return {
    async mint(repository, permissions, signal) {
      const { owner, repo } = repository;
      const name = `${owner}/${repo}`.toLowerCase();
      const known = installations.get(name);
      const first = known ?? (await installationOf(repository, signal));
      let answer = await requestToken(first, repo, permissions, signal);
      if (answer.status === 404 && known !== undefined) {
        // Installed anew since, so it has another id now. GitHub has made nothing.
        answer.body.destroy();
        installations.delete(name);
        const second = await installationOf(repository, signal);
        installations.set(name, second);
        answer = await requestToken(second, repo, permissions, signal);
      } else {
        installations.set(name, first);
      }
      const { token, expires_at, repositories } = await parsed(answer, 201, 'token', tokenAnswer, signal, clock);
      if (repositories?.every(({ name: other }) => isSameName(other, repo)) === false) {
        await revoke(new Secret(token), signal);
        throw upstreamError('GitHub made a token for more than the one repository; tell the operator');
      }
      return { token: new Secret(token), expiresAt: expires_at };
    },
    revoke,
  };
}

/**
 * JSON Web Tokens that show who the App is (https://docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-json-web-token-jwt-for-a-github-app),
 * each good for ten minutes by the time of the machine.
 */
function appJwt({ appId, privateKey }: GitHubAppConfig): () => Promise<string> {
  return async () => {
    // It brings much of Octokit along; without an App it is not loaded.
    const { createAppAuth } = await import('@octokit/auth-app');
    // Only the JWT: its way to tokens lets those who ask for the same at once share one, and a token that is revoked with one grant
    // must not be another's.
    const { token } = await createAppAuth({ appId, privateKey: privateKey.reveal() })({ type: 'app' });
    return token;
  };
}

/** Nothing has been made yet, which whoever would have to revoke it wants to know. */
function beforeAnyToken(error: unknown): unknown {
  if (!(error instanceof BrokerError) || error.code !== 'upstream_error') return error;
  return upstreamError(error.message, { reason: 'upstream_unreachable', cause: error.cause });
}

function exchange(upstream: Upstream, url: string, request: UpstreamRequest): Promise<UpstreamAnswer> {
  return untilAborted(request.signal, () =>
    upstream(url, request).catch((failure: unknown) => {
      throw errorFromFailure(failure);
    }),
  );
}

/** What an answer says. Rejects with the error that it means when its status is another, and with `upstream_error` when it makes no sense. */
async function parsed<T>(
  answer: UpstreamAnswer,
  status: number,
  request: AppRequest,
  schema: z.ZodType<T>,
  signal: AbortSignal,
  clock: Clock,
): Promise<T> {
  const options = { signal, spendBytes: boundedBytes() };
  if (answer.status !== status) {
    const body = await untilAborted(signal, () => readErrorBody(answer.body, options));
    throw errorFromAppAnswer({ status: answer.status, headers: answer.headers, body }, request, clock.now());
  }
  const body = await untilAborted(signal, () => readBody(answer.body, options));
  const content = schema.safeParse(jsonOf(body));
  // zod's own words quote what it was given.
  if (!content.success) throw notUnderstood();
  return content.data;
}

function boundedBytes(): (bytes: number) => Promise<void> {
  let left = MAX_ANSWER_BYTES;
  return (bytes) => {
    left -= bytes;
    return left < 0 ? Promise.reject(notUnderstood()) : Promise.resolve();
  };
}

function jsonOf(body: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(body).toString('utf8'));
  } catch {
    return undefined;
  }
}

const notUnderstood = () =>
  upstreamError("GitHub's answer to ASB's App makes no sense; tell the operator to check the API base URL");
