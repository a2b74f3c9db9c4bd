/** A data key as it is stored: encrypted with a key that never leaves its provider. */
export interface WrappedKey {
  /** Names the key-encryption key. */
  keyId: string;
  /** What the provider made of the data key; text of its own. */
  wrapped: string;
}

/** Whoever holds the key-encryption keys: a file, or a service. */
export interface KeyManagement {
  /** Wraps under the key that is current. `context` is bound to it: the same must be shown to unwrap. Rejects with `unavailable`. */
  wrap(dataKey: Uint8Array, context: string): Promise<WrappedKey>;
  /** Rejects with `unavailable` when the provider or that key is not to be had, and with another error when the text is not of its making. */
  unwrap(key: WrappedKey, context: string): Promise<Uint8Array>;
}
