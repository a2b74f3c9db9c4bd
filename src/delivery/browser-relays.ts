import { z } from 'zod';
import type { BrowserRelay, BrowserRelays, RelayPublicKey } from '../domain/browser-relay.ts';
import type { SessionId, TenantId } from '../domain/ids.ts';
import type { RuntimeStore } from '../domain/runtime-store.ts';

const KIND = 'relay_session';

/** As it is kept. Strict: what another version wrote and this one does not know is not half understood. */
const keptRelay = z.strictObject({
  tenantId: z.string().transform((id) => id as TenantId),
  sessionId: z.string().transform((id) => id as SessionId),
  keyId: z.string(),
  key: z
    .strictObject({ publicKey: z.string().transform((key) => key as RelayPublicKey), thumbprint: z.string() })
    .nullable(),
  origin: z.string(),
  tabId: z.string(),
  selectors: z.record(z.string(), z.string()),
  expiresAt: z.iso.datetime().transform((text) => new Date(text)),
});

type Name = Pick<BrowserRelay, 'tenantId' | 'sessionId' | 'keyId'>;

/** Keeps relays in the runtime store, where every process finds them. Nothing in them is a secret. */
export function makeBrowserRelays({ runtime }: { runtime: Pick<RuntimeStore, 'claim' | 'keep' | 'kept'> }): BrowserRelays {
  const find = async (of: Name, now: Date): Promise<BrowserRelay | null> => {
    const text = await runtime.kept(KIND, nameOf(of), now);
    return text === null ? null : keptRelay.parse(JSON.parse(text));
  };
  return {
    find,
    async register(relay, now) {
      const before = await find(relay, now);
      if (before !== null) return termsOf(before) === termsOf(relay) ? before : null;
      // Of two at once one is first; the name is its own for as long as it is kept.
      const isOurs = await runtime.claim('relay', nameOf(relay), termsOf(relay), relay.expiresAt, now);
      if (!isOurs) return null;
      await runtime.keep(KIND, nameOf(relay), JSON.stringify(relay), relay.expiresAt, now);
      return relay;
    },
  };
}

const nameOf = ({ tenantId, sessionId, keyId }: Name): string => JSON.stringify([tenantId, sessionId, keyId]);

/** What makes two relays the same, whenever they end. */
function termsOf({ key, origin, tabId, selectors }: BrowserRelay): string {
  const found = Object.entries(selectors).toSorted(([one], [other]) => (one < other ? -1 : 1));
  return JSON.stringify([key?.publicKey ?? null, origin, tabId, found]);
}
