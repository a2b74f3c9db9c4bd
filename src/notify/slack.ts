import type { ApprovalNotice, Notifier } from '../domain/notifier.ts';
import type { ApprovalLinks, LinkSigner } from './links.ts';
import type { Post } from './post.ts';
import type { SlackReceiver } from './receiver.ts';
import { shownTextWithin } from './shown-text.ts';

export interface SlackConfig {
  receiver: SlackReceiver;
  post: Post;
  links: LinkSigner;
}

// https://docs.slack.dev/reference/block-kit/blocks/section-block and .../block-elements/button-element
const MAX_FIELD_LENGTH = 2000;
const MAX_SECTION_LENGTH = 3000;
const MAX_URL_LENGTH = 3000;
/** For the label and its marks. */
const LABEL_ROOM = 100;
/** A notification on a telephone shows no more. */
const MAX_SUMMARY_PART = 200;

/** Writes to a channel by an incoming webhook of Slack's, or of what takes the same messages. */
export function makeSlackNotifier({ receiver, post, links }: SlackConfig): Notifier {
  return {
    async send(notice, signal) {
      const message = messageOf(notice, receiver.links ? await links(notice) : null);
      return post({ url: receiver.url, headers: {}, body: JSON.stringify(message) }, signal);
    },
  };
}

function messageOf(notice: ApprovalNotice, links: ApprovalLinks | null) {
  const { approval, grant, workloadSubject } = notice;
  const [agent, capability, resource] = [grant.agentId, grant.capability, grant.resourceRef].map((part) =>
    code(part, MAX_SUMMARY_PART),
  ) as [string, string, string];
  // A section takes ten at most.
  const fields = [
    field('Agent', grant.agentId),
    field('Run', grant.runId),
    field('Workload', workloadSubject),
    field('Tool', grant.tool),
    field('Capability', grant.capability),
    field('Resource', grant.resourceRef),
    field('Delivery', `${grant.deliveryMode}, for ${grant.ttlSeconds} seconds`),
    field('Waits for', waitsFor(approval)),
    field('Answers it again', approval.reuse ? 'yes' : 'no'),
    field('May not decide', approval.excluded.map(({ subject }) => subject).join(', ')),
  ];
  const ids = [approval.tenantId, approval.id, grant.id, grant.sessionId, approval.requestHash];
  return {
    text: `Approval needed: agent ${agent} asks for ${capability} on ${resource}`,
    unfurl_links: false,
    unfurl_media: false,
    blocks: [
      { type: 'section', text: mrkdwn('*Approval needed*'), fields },
      { type: 'section', text: mrkdwn(`*Reason*\n${code(grant.reason, MAX_SECTION_LENGTH - LABEL_ROOM)}`) },
      { type: 'context', elements: ids.map((id) => mrkdwn(code(id, MAX_SUMMARY_PART))) },
      ...buttons(links),
    ],
  };
}

const waitsFor = ({ requiredApprovers, expiresAt }: ApprovalNotice['approval']): string =>
  `${requiredApprovers} ${requiredApprovers === 1 ? 'approver' : 'approvers'}, until ${expiresAt.toISOString()}`;

const field = (label: string, value: string) => mrkdwn(`*${label}*\n${code(value, MAX_FIELD_LENGTH - LABEL_ROOM)}`);

/** `verbatim` keeps names of channels and addresses from turning into links. */
const mrkdwn = (text: string) => ({ type: 'mrkdwn', text, verbatim: true });

/**
 * Others' words as a span of code, in which nothing is formatted, linked or a mention, and out of which no backtick leads.
 * https://docs.slack.dev/messaging/formatting-message-text
 */
const code = (text: string, maxLength: number): string =>
  `\`${shownTextWithin(text === '' ? '–' : text, maxLength, escaped)}\``;

const ESCAPES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '`': 'ˋ' };
const escaped = (character: string): string => ESCAPES[character] ?? character;

function buttons(links: ApprovalLinks | null) {
  // Slack would refuse the whole message.
  if (links === null || Math.max(links.approve.length, links.deny.length) > MAX_URL_LENGTH) return [];
  const button = (text: string, url: string, style: 'primary' | 'danger') => ({
    type: 'button',
    text: { type: 'plain_text', text, emoji: false },
    url,
    style,
    action_id: `asb_${style}`,
  });
  return [
    { type: 'actions', elements: [button('Approve…', links.approve, 'primary'), button('Deny…', links.deny, 'danger')] },
  ];
}
