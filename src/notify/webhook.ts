import { Webhook } from 'standardwebhooks';
import type { Clock } from '../domain/clock.ts';
import type { ApprovalNotice, Notifier } from '../domain/notifier.ts';
import type { Secret } from '../domain/secret.ts';
import type { LinkSigner } from './links.ts';
import type { Post } from './post.ts';
import type { WebhookReceiver } from './receiver.ts';
import { shownTextWithin } from './shown-text.ts';

export interface WebhookConfig {
  receiver: WebhookReceiver;
  post: Post;
  links: LinkSigner;
  clock: Clock;
}

/** Standard Webhooks, "Signature scheme": between 24 and 64 bytes. */
const MIN_SECRET_BYTES = 24;
const MAX_SECRET_BYTES = 64;
/** Every name that a request may hold fits, and a reason of ordinary words. */
const MAX_SHOWN_LENGTH = 2000;

/**
 * Sends webhooks as Standard Webhooks describes them, signed with HMAC-SHA256 over id, time and body.
 * https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
 */
export function makeWebhookNotifier({ receiver, post, links, clock }: WebhookConfig): Notifier {
  return {
    async send(notice, signal) {
      const webhook = new Webhook(receiver.secret.reveal());
      const body = JSON.stringify(bodyOf(notice, receiver.links ? await links(notice) : null));
      const at = clock.now();
      const headers = {
        'webhook-id': notice.id,
        'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
        'webhook-signature': webhook.sign(notice.id, at, body),
      };
      return post({ url: receiver.url, headers, body }, signal);
    },
  };
}

/** Throws an Error that says what is wrong with a webhook's secret, never what is in it. */
export function requireWebhookSecret(secret: Secret): void {
  const text = secret.reveal().replace(/^whsec_/, '');
  const bytes = Buffer.from(text, 'base64');
  if (bytes.toString('base64') !== text || bytes.length < MIN_SECRET_BYTES || bytes.length > MAX_SECRET_BYTES) {
    throw new Error(
      `must be ${MIN_SECRET_BYTES} to ${MAX_SECRET_BYTES} random bytes in base64, with or without whsec_ before it`,
    );
  }
}

const shown = (text: string): string => shownTextWithin(text, MAX_SHOWN_LENGTH);

function bodyOf({ approval, grant, workloadSubject }: ApprovalNotice, links: Awaited<ReturnType<LinkSigner>>) {
  return {
    type: 'approval.requested',
    timestamp: approval.createdAt.toISOString(),
    data: {
      tenant_id: approval.tenantId,
      approval_id: approval.id,
      grant_id: grant.id,
      session_id: grant.sessionId,
      // Programs show these to people, and none of them looks as carefully as it should.
      agent_id: shown(grant.agentId),
      run_id: shown(grant.runId),
      workload_subject: shown(workloadSubject),
      tool: shown(grant.tool),
      capability: shown(grant.capability),
      resource_ref: shown(grant.resourceRef),
      delivery_mode: grant.deliveryMode,
      ttl_seconds: grant.ttlSeconds,
      reason: shown(grant.reason),
      request_hash: approval.requestHash,
      required_approvers: approval.requiredApprovers,
      reuse: approval.reuse,
      excluded: approval.excluded.map(({ issuer, subject }) => ({ issuer, subject: shown(subject) })),
      expires_at: approval.expiresAt.toISOString(),
      ...(links === null ? {} : { links }),
    },
  };
}
