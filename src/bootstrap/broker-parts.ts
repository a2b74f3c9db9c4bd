import { randomUUID } from 'node:crypto';
import { makeFetchJson } from '../authn/fetch-json.ts';
import { makeProofVerifier } from '../authn/dpop.ts';
import type { KeySource } from '../authn/key-source.ts';
import { makeSessionTokens } from '../authn/session-tokens.ts';
import { rememberVerified } from '../authn/verified-tokens.ts';
import { workloadHash } from '../authn/workload-hash.ts';
import { makeApprovalNotifications } from '../broker/approval-notifications.ts';
import { type Broker, type BrokerDeps, makeBroker } from '../broker/broker.ts';
import type { SendNotificationsDeps } from '../broker/send-notifications.ts';
import { guardedLookup } from '../connectors/guarded-lookup.ts';
import { makeUpstream } from '../connectors/github/upstream.ts';
import { makeIdSource } from '../crypto/random-ids.ts';
import { makeRelaySealer } from '../crypto/relay-sealer.ts';
import { makeSecretSealer } from '../crypto/sealed-box.ts';
import { makeBrowserRelays } from '../delivery/browser-relays.ts';
import { makeProxyDelivery } from '../delivery/proxy-delivery.ts';
import { makeSecretDelivery } from '../delivery/secret-delivery.ts';
import type { Clock } from '../domain/clock.ts';
import type { Connector } from '../domain/connector.ts';
import type { IdSource } from '../domain/id-source.ts';
import type { MemoryGauge } from '../domain/memory-gauge.ts';
import type { Repository } from '../domain/repository.ts';
import type { RuntimeStore } from '../domain/runtime-store.ts';
import { makeCallbackVerifier } from '../notify/callbacks.ts';
import { makeLinkSigner } from '../notify/links.ts';
import { makeNotifiers } from '../notify/notifiers.ts';
import type { Configuration } from './configuration.ts';
import { type DecidingParts, makeDecidingParts } from './deciding-parts.ts';
import { openKeySource } from './key-sources.ts';
import type { IssuerSettings, Settings } from './settings.ts';
import { systemRandom } from './system-random.ts';
import { Vaults } from './vault-parts.ts';

export interface Stores {
  clock: Clock;
  repository: Repository;
  runtime: RuntimeStore;
  memory: MemoryGauge;
  /** Besides those that the configuration names. */
  connectors: readonly Connector[];
  /** Whether this process issues what policies allow; one that only revokes needs no connector for each. */
  issues: boolean;
}

export interface Hooks {
  /** Told each time that an issuer's keys could not be fetched. */
  onFetchFailure: (issuer: string, error: unknown) => void;
  /** Told each time that ASB's token at Vault could not be renewed. */
  onVaultFailure: (error: unknown) => void;
  /** Makes the outbox be looked at soon. */
  wakeOutbox: () => void;
}

/** The use cases, all of them deciding by one configuration. */
export interface Assembly {
  parts: DecidingParts;
  deps: BrokerDeps;
  broker: Broker;
}

/** What runs, and how it is put together anew from other settings. */
export interface BrokerParts {
  /** What is in force. Whoever asks at the start of a call is answered by one configuration to its end. */
  current(): Assembly;
  /** Throws ConfigurationError when a file that the settings name cannot be used; what is in force stays so. */
  replace(settings: Settings): void;
  /** What sends notifications runs on. */
  outbox: SendNotificationsDeps;
}

const SESSION_TTL_SECONDS = 900;

/** Puts together what the use cases run on. Throws ConfigurationError when a file that the settings name cannot be used. */
export function makeBrokerParts(configuration: Configuration, stores: Stores, hooks: Hooks): BrokerParts {
  const { environment, keys, settings } = configuration;
  const { clock, repository } = stores;
  const upstream = makeUpstream(guardedLookup(environment.ASB_UPSTREAM_ALLOWED_ADDRESSES));
  const openKeys = rememberedKeys(clock, hooks.onFetchFailure);
  const allowedAddresses = environment.ASB_UPSTREAM_ALLOWED_ADDRESSES;
  const vaults = new Vaults({ clock, allowedAddresses, onFailure: hooks.onVaultFailure });
  const ids = makeIdSource({ clock, handleKey: keys.sessionKeys.secretFor('proxy-handle') });
  const publicBaseUrl = environment.ASB_PUBLIC_BASE_URL ?? null;
  const links = makeLinkSigner({ keys: keys.sessionKeys, issuer: environment.ASB_SESSION_TOKEN_ISSUER, publicBaseUrl });
  const notifiers = makeNotifiers({ receivers: () => current.parts.receivers, links, clock });
  const notifications = makeApprovalNotifications({ ids, notifiers, wake: hooks.wakeOutbox });
  const shared = { ...sharedDeps(configuration, stores, ids), notifications };
  const { connectors, runtime, issues } = stores;
  const connecting = { connectors, issues, runtime, sealer: makeSecretSealer({ keys: keys.kek }), processId: randomUUID() };
  const assemble = (next: Settings): Assembly => {
    const parts = makeDecidingParts(next, { ...connecting, environment, clock, openKeys, upstream, vaults });
    vaults.settle();
    const deps = { ...shared, ...decidingDeps(configuration, parts, clock) };
    return { parts, deps, broker: makeBroker(deps) };
  };
  let current = assemble(settings);
  return {
    current: () => current,
    replace(next) {
      current = assemble(next);
    },
    outbox: { clock, ids, repository, revision: () => current.parts.grants.revision, notifiers, random: systemRandom },
  };
}

/** What stays over a reload: state, and what the environment alone says. */
function sharedDeps({ environment, keys }: Configuration, stores: Stores, ids: IdSource) {
  const { clock, repository, runtime, memory } = stores;
  const issuer = environment.ASB_SESSION_TOKEN_ISSUER;
  return {
    clock,
    ids,
    repository,
    runtime,
    memory,
    relays: makeBrowserRelays({ runtime }),
    relaySealer: makeRelaySealer(),
    proofs: makeProofVerifier({ clock, runtime, ids }),
    tokens: rememberVerified(makeSessionTokens({ keys: keys.sessionKeys, issuer, clock }), clock),
    hashWorkload: workloadHash,
    sessionTtlSeconds: SESSION_TTL_SECONDS,
    deliveries: {
      proxy: makeProxyDelivery(ids),
      secret: makeSecretDelivery({ sealer: makeSecretSealer({ keys: keys.kek }), ids }),
    },
    maxOpenGrantsPerSession: environment.ASB_MAX_OPEN_GRANTS,
    maxBufferedBytes: environment.ASB_PROXY_MAX_BUFFERED_BYTES,
    budget: {
      maxConcurrent: environment.ASB_PROXY_MAX_CONCURRENT,
      maxRequests: environment.ASB_PROXY_MAX_REQUESTS,
      maxBytes: environment.ASB_PROXY_MAX_BYTES,
      timeoutSeconds: environment.ASB_PROXY_TIMEOUT_SECONDS,
    },
  };
}

/** What a configuration says, with the revision that names it. */
function decidingDeps({ environment, keys }: Configuration, parts: DecidingParts, clock: Clock) {
  const { attestation, sessions, grants, operators, delegations, connectors, receivers } = parts;
  const issuer = environment.ASB_SESSION_TOKEN_ISSUER;
  return {
    attestation,
    sessions,
    grants,
    operators,
    delegations,
    connectors,
    revision: () => grants.revision,
    callbacks: makeCallbackVerifier({ receivers: () => receivers, keys: keys.sessionKeys, issuer, clock }),
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
