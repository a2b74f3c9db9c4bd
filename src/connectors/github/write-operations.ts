import { z } from 'zod';
import { type GitHubOperation, WRITE_CAPABILITY } from './operation.ts';
import { paramsParser, pullNumber, text, time } from './params.ts';

const MAX_TITLE_LENGTH = 256;
/** GitHub's own limit for issues, comments and the texts of check runs. */
const MAX_BODY_LENGTH = 65_535;
const MAX_LABELS = 50;
const MAX_LABEL_LENGTH = 100;

const title = text(`must be a text of 1 to ${MAX_TITLE_LENGTH} characters`, MAX_TITLE_LENGTH);
const body = text(`must be a text of 1 to ${MAX_BODY_LENGTH} characters`, MAX_BODY_LENGTH);
const labels = z
  .array(text(`must be a label of 1 to ${MAX_LABEL_LENGTH} characters`, MAX_LABEL_LENGTH), 'must be a list of labels')
  .max(MAX_LABELS, `must be ${MAX_LABELS} labels at most`);

const CONCLUSIONS = ['action_required', 'cancelled', 'failure', 'neutral', 'success', 'skipped', 'timed_out'] as const;

const parseComment = paramsParser('create_pull_request_comment', { pull_number: pullNumber, body });

const WRITE = { capability: WRITE_CAPABILITY } as const;

/** What changes a repository. None of it runs unless it is configured by name. */
export const WRITES: readonly GitHubOperation[] = [
  {
    // https://docs.github.com/rest/issues/issues#create-an-issue
    ...WRITE,
    name: 'create_issue',
    route: 'POST /repos/{owner}/{repo}/issues',
    permissions: { issues: 'write' },
    subject: 'repository',
    parseParams: paramsParser('create_issue', { title, body: body.optional(), labels: labels.optional() }),
  },
  {
    // https://docs.github.com/rest/issues/comments#create-an-issue-comment: "Every pull request is an issue". With this permission
    // alone GitHub takes comments on pull requests and on nothing else.
    ...WRITE,
    name: 'create_pull_request_comment',
    route: 'POST /repos/{owner}/{repo}/issues/{issue_number}/comments',
    permissions: { pull_requests: 'write' },
    subject: 'pull request',
    parseParams(params, granted) {
      const { pull_number, ...rest } = parseComment(params, granted);
      return { ...rest, issue_number: pull_number };
    },
  },
  {
    // https://docs.github.com/rest/checks/runs#create-a-check-run
    ...WRITE,
    name: 'create_check_run',
    route: 'POST /repos/{owner}/{repo}/check-runs',
    permissions: { checks: 'write' },
    subject: 'commit',
    parseParams: paramsParser('create_check_run', {
      name: title,
      head_sha: z
        .string('must be the SHA of a commit')
        .regex(/^[0-9a-f]{40}([0-9a-f]{24})?$/, 'must be the SHA of a commit: 40 or 64 small hex digits'),
      status: z.enum(['queued', 'in_progress', 'completed'], 'must be queued, in_progress or completed').optional(),
      conclusion: z.enum(CONCLUSIONS, `must be one of ${CONCLUSIONS.join(', ')}`).optional(),
      details_url: z
        .url({ protocol: /^https?$/, error: 'must be an http(s) URL' })
        .max(2000, 'is too long')
        .optional(),
      external_id: title.optional(),
      started_at: time.optional(),
      completed_at: time.optional(),
      output: z
        .strictObject({ title, summary: body, text: body.optional() }, 'must be an object of title, summary and text')
        .optional(),
    }),
  },
];
