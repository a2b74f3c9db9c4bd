import { type BrokerError, forbidden, notFound, rateLimited, upstreamError } from '../../domain/errors.ts';
import { describeAnswer, isRateLimit, type RefusingAnswer, waitSeconds } from './translate-error.ts';

/** What ASB asks GitHub for as an App. */
export type AppRequest = 'installation' | 'token' | 'revocation';

const RULE = 'upstream:github';

/** What it means to the caller that GitHub refuses a token to the App. The error and its cause hold nothing of the answer's body. */
export function errorFromAppAnswer(answer: RefusingAnswer, request: AppRequest, now: Date): BrokerError {
  const { status } = answer;
  const cause = new Error(describeAnswer(answer, `the App's request (${request})`));
  const refused = (why: string) => forbidden('upstream_refused', why, { rule: RULE, cause });
  if (isRateLimit(answer)) {
    const retryAfterSeconds = waitSeconds(answer.headers, now);
    return rateLimited(`GitHub's rate limit is used up; retry in ${retryAfterSeconds} seconds`, {
      cause,
      retryAfterSeconds,
    });
  }
  switch (status) {
    case 401:
      return upstreamError("GitHub did not accept the id and key of ASB's App; tell the operator", {
        cause,
        reason: 'upstream_unreachable',
      });
    case 403:
      return /suspended/i.test(answer.body)
        ? refused("the installation of ASB's GitHub App is suspended; ask the repository's owner to resume it")
        : refused("GitHub refuses ASB's App a token for this repository");
    case 404:
      return notFound("ASB's GitHub App is not installed on this repository, or GitHub has no such repository", { cause });
    case 422:
      return /permission/i.test(answer.body)
        ? refused("the installation of ASB's GitHub App was not given the permissions that this needs; tell the operator")
        : refused("this repository is not among those that ASB's GitHub App was given; ask its owner to add it");
    default:
      return upstreamError(`GitHub failed with status ${status} when ASB's App asked it (${request}); retry later`, {
        cause,
      });
  }
}
