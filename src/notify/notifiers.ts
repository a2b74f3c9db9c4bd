import type { Clock } from '../domain/clock.ts';
import type { Notifier, Notifiers } from '../domain/notifier.ts';
import type { LinkSigner } from './links.ts';
import { makePost } from './post.ts';
import type { Receiver } from './receiver.ts';
import { makeSlackNotifier } from './slack.ts';
import { makeWebhookNotifier } from './webhook.ts';

export interface NotifiersConfig {
  /** Who is configured at this moment; a reload changes it. */
  receivers: () => readonly Receiver[];
  links: LinkSigner;
  clock: Clock;
}

/** The ways to all receivers. */
export function makeNotifiers({ receivers, links, clock }: NotifiersConfig): Notifiers {
  const post = makePost(clock);
  const notifierOf = (receiver: Receiver): Notifier =>
    receiver.kind === 'webhook'
      ? makeWebhookNotifier({ receiver, post, links, clock })
      : makeSlackNotifier({ receiver, post, links });
  return {
    receiversOf: (tenantId) =>
      receivers()
        .filter(({ tenants }) => tenants.includes(tenantId))
        .map(({ name }) => name),
    find(tenantId, name) {
      const receiver = receivers().find((candidate) => candidate.name === name && candidate.tenants.includes(tenantId));
      return receiver === undefined ? null : notifierOf(receiver);
    },
  };
}
