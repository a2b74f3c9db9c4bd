import { request, type Dispatcher } from 'undici';
import { z } from 'zod';
import type { Clock } from '../domain/clock.ts';
import { unauthorized, unavailable } from '../domain/errors.ts';

/** Asks whether what a token was issued for is still there. */
export interface TokenReview {
  /**
   * Rejects with `unauthorized` when the token's pod, service account or secret is gone, or the token is another's than it says;
   * with `unavailable` when that cannot be asked.
   */
  confirm(reviewed: ReviewedToken): Promise<void>;
}

/** A token whose signature is good, and what it says. */
export interface ReviewedToken {
  token: string;
  subject: string;
  /** Null where the token is not bound to a pod. */
  podUid: string | null;
}

export interface TokenReviewConfig {
  apiServer: URL;
  audience: string;
  /** Connects to the API server, and trusts only its authority. */
  dispatcher: Dispatcher;
  /** The token that ASB itself shows to the API server. Rejects when it cannot be read. */
  ownToken: () => Promise<string>;
  clock: Clock;
}

const PATH = 'apis/authentication.k8s.io/v1/tokenreviews';
const POD_UID = 'authentication.kubernetes.io/pod-uid';
const TIMEOUT_MS = 5000;

const Review = z.object({
  status: z.object({
    authenticated: z.boolean().default(false),
    audiences: z.array(z.string()).default([]),
    user: z
      .object({ username: z.string().default(''), extra: z.record(z.string(), z.array(z.string())).default({}) })
      .optional(),
  }),
});
type ReviewStatus = z.infer<typeof Review>['status'];

/**
 * Reviews tokens at a Kubernetes API server
 * (https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-review-v1/), which knows what a signature
 * does not tell: whether the pod still runs. Nothing is remembered, because the answer may change at any moment.
 */
export function makeTokenReview(config: TokenReviewConfig): TokenReview {
  const url = new URL(PATH, config.apiServer.href.replace(/\/?$/, '/'));
  return {
    async confirm(reviewed) {
      const status = await ask(config, url, reviewed.token);
      if (!vouchesFor(status, config.audience, reviewed)) {
        throw unauthorized('attestation: the cluster no longer accepts the token; its pod or service account may be gone');
      }
    },
  };
}

async function ask(config: TokenReviewConfig, url: URL, token: string): Promise<ReviewStatus> {
  const { audience, dispatcher, ownToken, clock } = config;
  const abort = new AbortController();
  const callOff = clock.schedule(TIMEOUT_MS, () => abort.abort(new Error('the API server did not answer in time')));
  try {
    const { statusCode, body } = await request(url, {
      method: 'POST',
      dispatcher,
      signal: abort.signal,
      headers: {
        authorization: `Bearer ${await ownToken()}`,
        'content-type': 'application/json',
        accept: 'application/json',
      },
      body: JSON.stringify({
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'TokenReview',
        spec: { token, audiences: [audience] },
      }),
    });
    const text = await body.text();
    if (statusCode !== 200 && statusCode !== 201) throw new Error(`the API server answered ${statusCode}`);
    return Review.parse(JSON.parse(text)).status;
  } catch (error) {
    throw unavailable('attestation: the cluster cannot be asked about the token right now; try again', {
      cause: withoutContent(error),
    });
  } finally {
    callOff();
  }
}

/** An answer repeats the token, and a decoder's error may repeat the answer. */
function withoutContent(error: unknown): unknown {
  const unreadable = error instanceof SyntaxError || error instanceof z.ZodError;
  return unreadable ? new Error('the API server did not answer a TokenReview') : error;
}

function vouchesFor({ authenticated, audiences, user }: ReviewStatus, audience: string, reviewed: ReviewedToken): boolean {
  if (!authenticated || !audiences.includes(audience) || user?.username !== reviewed.subject) return false;
  const podUids = user.extra[POD_UID];
  return podUids === undefined || reviewed.podUid === null || podUids.includes(reviewed.podUid);
}
