import type { BrowserRelay, BrowserRelays, RelaySealer } from '../domain/browser-relay.ts';
import type { Clock } from '../domain/clock.ts';
import type { ConnectorResolver, FormInput } from '../domain/connector.ts';
import type { UnwrappedField } from '../domain/delivery.ts';
import { conflict, forbidden, invalidRequest, notFound } from '../domain/errors.ts';
import type { LiveGrant } from '../domain/grant.ts';
import type { GrantAuthorizer } from '../domain/grant-authorizer.ts';
import type { ArtifactId } from '../domain/ids.ts';
import type { ResourceRef } from '../domain/resource.ts';
import type { Trail } from './audit-trail.ts';
import { requireTrusted } from './register-browser-relay.ts';

export interface FillFormDeps {
  clock: Clock;
  connectors: ConnectorResolver;
  grants: GrantAuthorizer;
  relays: BrowserRelays;
  relaySealer: RelaySealer;
}

/** Which relay the caller means, in its own words. */
interface Named {
  keyId: string;
  origin: string;
  tabId: string;
}

/** A form, and the relay that waits to fill it. */
export interface Filling {
  relay: BrowserRelay;
  form: readonly FormInput[];
  /** What goes on record of it. */
  details: Readonly<Record<string, string>>;
}

/**
 * The relay that a form's secret may be opened for: the session's own, at the grant's origin, in the tab that the caller names. Rejects with
 * `invalid_request` when it is not named, `not_found` when there is none such, and `forbidden` when it waits elsewhere, when the operator
 * trusts other keys, or when it has no key and the policy lets nothing out in the clear.
 */
export async function findFilling(
  deps: FillFormDeps,
  { grant, resource }: { grant: LiveGrant; resource: ResourceRef },
  { keyId, origin, tabId }: Named,
  trail: Trail,
): Promise<Filling> {
  if (keyId === '' || origin === '' || tabId === '') {
    throw invalidRequest('key_id, origin, tab_id: name the browser relay that is to fill the form, as it was registered');
  }
  const { tenantId, sessionId, capability } = grant;
  trail.details = { ...trail.details, key_id: keyId, origin, tab_id: tabId };
  const relay = await deps.relays.find({ tenantId, sessionId, keyId }, deps.clock.now());
  if (relay === null) throw notFound('key_id: this session has no such browser relay; register it, and unwrap again');
  if (relay.origin !== origin || origin !== resource.name) throw elsewhere('origin', 'the grant and the relay are for');
  if (relay.tabId !== tabId) throw elsewhere('tab_id', 'the relay was registered for');
  const connector = deps.connectors.resolveForm(capability, resource.kind);
  if (connector === null) throw notFound('resource_ref: no browser connector serves it any more');
  requireTrusted(connector, relay.key);
  if (relay.key === null && !deps.grants.allowsPlainValues({ tenantId, capability })) {
    const message = 'public_key: the policy lets no values out in the clear; register the relay with a public key';
    throw forbidden('plain_values_not_allowed', message, { rule: `policy:${capability}` });
  }
  const { key, selectors } = relay;
  const details = { key_id: keyId, origin, tab_id: tabId, ...(key !== null && { key_thumbprint: key.thumbprint }) };
  return { relay, form: connector.formOf(resource, selectors), details };
}

const elsewhere = (field: string, which: string) =>
  forbidden('relay_mismatch', `${field}: is not the one that ${which}`, { rule: 'relay' });

/** What goes into the inputs, each value sealed to the relay's key. Rejects with `conflict` when the form has other inputs by now. */
export async function fillForm(
  { relaySealer }: Pick<FillFormDeps, 'relaySealer'>,
  { relay: { keyId, key, origin, tabId }, form }: Filling,
  artifactId: ArtifactId,
  values: readonly UnwrappedField[],
): Promise<{ name: string; selector: string; value: string }[]> {
  const selectors = new Map(form.map(({ name, selector }) => [name, selector]));
  if (selectors.size !== values.length) throw changed();
  return Promise.all(
    values.map(async ({ name, value }) => {
      const selector = selectors.get(name);
      if (selector === undefined) throw changed();
      const input = { artifactId, keyId, origin, tabId, name, selector };
      return { name, selector, value: key === null ? value : await relaySealer.seal(value, key.publicKey, input) };
    }),
  );
}

const changed = () => conflict('the form at this origin has other inputs since the grant was issued; request a new one');
