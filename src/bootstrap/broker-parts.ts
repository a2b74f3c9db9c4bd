import { makeFetchJson } from '../authn/fetch-json.ts';
import { makeProofVerifier } from '../authn/dpop.ts';
import type { KeySource } from '../authn/key-source.ts';
import { makeSessionTokens } from '../authn/session-tokens.ts';
import { rememberVerified } from '../authn/verified-tokens.ts';
import { workloadHash } from '../authn/workload-hash.ts';
import { makeApprovalNotifications } from '../broker/approval-notifications.ts';
import type { BrokerDeps } from '../broker/broker.ts';
import type { SendNotificationsDeps } from '../broker/send-notifications.ts';
import { makeUpstream } from '../connectors/github/upstream.ts';
import { makeIdSource } from '../crypto/random-ids.ts';
import { makeProxyDelivery } from '../delivery/proxy-delivery.ts';
import type { Clock } from '../domain/clock.ts';
import type { MemoryGauge } from '../domain/memory-gauge.ts';
import type { Repository } from '../domain/repository.ts';
import type { RuntimeStore } from '../domain/runtime-store.ts';
import { makeCallbackVerifier } from '../notify/callbacks.ts';
import { makeLinkSigner } from '../notify/links.ts';
import { makeNotifiers } from '../notify/notifiers.ts';
import type { Configuration } from './configuration.ts';
import { type DecidingParts, makeDecidingParts } from './deciding-parts.ts';
import { openKeySource } from './key-sources.ts';
import { LiveParts } from './live-parts.ts';
import type { IssuerSettings, Settings } from './settings.ts';
import { systemRandom } from './system-random.ts';

export interface Stores {
  clock: Clock;
  repository: Repository;
  runtime: RuntimeStore;
  memory: MemoryGauge;
}

export interface Hooks {
  /** Told each time that an issuer's keys could not be fetched. */
  onFetchFailure: (issuer: string, error: unknown) => void;
  /** Makes the outbox be looked at soon. */
  wakeOutbox: () => void;
}

/** What the use cases run on, and the part of it that a configuration file replaces. */
export interface BrokerParts {
  broker: BrokerDeps;
  outbox: SendNotificationsDeps;
  live: LiveParts;
  /** Makes the deciding parts of other settings. Throws ConfigurationError. */
  decide: (settings: Settings) => DecidingParts;
}

const SESSION_TTL_SECONDS = 900;

/** Puts together what the use cases run on. Throws ConfigurationError when a file that the settings name cannot be used. */
export function makeBrokerParts({ environment, keys, settings }: Configuration, stores: Stores, hooks: Hooks): BrokerParts {
  const { clock, repository, runtime } = stores;
  const { sessionKeys } = keys;
  const upstream = makeUpstream();
  const openKeys = rememberedKeys(clock, hooks.onFetchFailure);
  const decide = (next: Settings): DecidingParts => makeDecidingParts(next, { environment, clock, openKeys, upstream });
  const live = new LiveParts(decide(settings));

  const ids = makeIdSource({ clock, handleKey: sessionKeys.secretFor('proxy-handle') });
  const issuer = environment.ASB_SESSION_TOKEN_ISSUER;
  const receivers = () => live.receivers;
  const publicBaseUrl = environment.ASB_PUBLIC_BASE_URL ?? null;
  const links = makeLinkSigner({ keys: sessionKeys, issuer, publicBaseUrl });
  const notifiers = makeNotifiers({ receivers, links, clock });
  const audited = { clock, ids, repository, revision: () => live.grants.revision };
  const { attestation, sessions, grants, operators, delegations, connectors } = live;
  return {
    live,
    decide,
    outbox: { ...audited, notifiers, random: systemRandom },
    broker: {
      ...audited,
      runtime,
      attestation,
      sessions,
      grants,
      operators,
      delegations,
      connectors,
      proofs: makeProofVerifier({ clock, runtime, ids }),
      callbacks: makeCallbackVerifier({ receivers, keys: sessionKeys, issuer, clock }),
      notifications: makeApprovalNotifications({ ids, notifiers, wake: hooks.wakeOutbox }),
      tokens: rememberVerified(makeSessionTokens({ keys: sessionKeys, issuer, clock }), clock),
      hashWorkload: workloadHash,
      sessionTtlSeconds: SESSION_TTL_SECONDS,
      deliveries: [makeProxyDelivery(ids)],
      maxOpenGrantsPerSession: environment.ASB_MAX_OPEN_GRANTS,
      memory: stores.memory,
      maxBufferedBytes: environment.ASB_PROXY_MAX_BUFFERED_BYTES,
      budget: {
        maxConcurrent: environment.ASB_PROXY_MAX_CONCURRENT,
        maxRequests: environment.ASB_PROXY_MAX_REQUESTS,
        maxBytes: environment.ASB_PROXY_MAX_BYTES,
        timeoutSeconds: environment.ASB_PROXY_TIMEOUT_SECONDS,
      },
    },
  };
}

/**
 * Keys that are fetched outlive a reload: one while their issuer is down locks nobody out, and many ask it no more often. Files are
 * read again, so that a reload takes up new keys.
 */
function rememberedKeys(clock: Clock, onFetchFailure: Hooks['onFetchFailure']): (issuer: IssuerSettings) => KeySource {
  const fetchJson = makeFetchJson();
  const fetched = new Map<string, KeySource>();
  return ({ issuer, keys }) => {
    const open = () => openKeySource({ ...keys, issuer }, { clock, fetchJson, onFetchFailure });
    if (keys.kind !== 'jwks_url' && keys.kind !== 'discovery') return open();
    const name = JSON.stringify([issuer, keys]);
    const source = fetched.get(name) ?? open();
    fetched.set(name, source);
    // So that the first caller need not wait for it.
    void source.prefetch?.();
    return source;
  };
}
