import { z } from 'zod';
import type { BrowserRelay, BrowserRelays, RelayPublicKey } from '../domain/browser-relay.ts';
import { budgetExceeded } from '../domain/errors.ts';
import type { SessionId, TenantId } from '../domain/ids.ts';
import type { RuntimeStore } from '../domain/runtime-store.ts';

const KIND = 'relay_session';
/** Enough for the tabs of one run, and too few to fill the store. */
const MAX_RELAYS_OF_SESSION = 8;

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
  /** Takes one of the session's places for as long as the relay lives. */
  const hasPlace = async ({ tenantId, sessionId, keyId, expiresAt }: BrowserRelay, now: Date): Promise<boolean> => {
    for (let place = 0; place < MAX_RELAYS_OF_SESSION; place += 1) {
      const name = JSON.stringify([tenantId, sessionId, place]);
      if (await runtime.claim('relay_place', name, keyId, expiresAt, now)) return true;
    }
    return false;
  };
  return {
    find,
    async register(relay, now) {
      const before = await find(relay, now);
      if (before !== null) return termsOf(before) === termsOf(relay) ? before : null;
      if (!(await hasPlace(relay, now))) {
        throw budgetExceeded(`this session has ${MAX_RELAYS_OF_SESSION} browser relays already; use one of them`);
      }
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
