import type { ArtifactId, SessionId, TenantId } from './ids.ts';

/** A public key that values are sealed to, as a JWK of its required members alone (RFC 7638 section 3.2). */
export type RelayPublicKey = string & { readonly __brand: 'RelayPublicKey' };

/** Where a browser extension waits to fill a form, as it registered itself. */
export interface BrowserRelay {
  tenantId: TenantId;
  sessionId: SessionId;
  keyId: string;
  /** Null for a relay that can open nothing sealed. */
  key: RelayKey | null;
  origin: string;
  tabId: string;
  /** The selectors that it found on its page, by the names of inputs. */
  selectors: Readonly<Record<string, string>>;
  expiresAt: Date;
}

export interface RelayKey {
  publicKey: RelayPublicKey;
  /** RFC 7638, SHA-256, base64url. */
  thumbprint: string;
}

/** The relays of sessions. */
export interface BrowserRelays {
  /**
   * Keeps a relay under the name of its key until it ends. Answers it as it is kept, or null when another relay of that session has the
   * name. The same relay, again, stays as it was. Rejects with `resource_budget_exceeded` when the session has as many as it may, and with
   * `unavailable`.
   */
  register(relay: BrowserRelay, now: Date): Promise<BrowserRelay | null>;
  /** Null when the session has no relay of that name, or has it no more. Rejects with `unavailable`. */
  find(of: Pick<BrowserRelay, 'tenantId' | 'sessionId' | 'keyId'>, now: Date): Promise<BrowserRelay | null>;
}

/** What a sealed value is for. Whoever opens it can tell when somebody has put it elsewhere. */
export interface SealedInput {
  artifactId: ArtifactId;
  keyId: string;
  origin: string;
  tabId: string;
  /** Of the input. */
  name: string;
  selector: string;
}

/** Seals values so that one relay alone can read them. */
export interface RelaySealer {
  /** Rejects with `invalid_request` for what is no public key that values can be sealed to. */
  readKey(text: string): Promise<RelayKey>;
  seal(value: string, key: RelayPublicKey, input: SealedInput): Promise<string>;
}
