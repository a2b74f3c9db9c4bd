import type { VerificationKey } from './pem-keys.ts';

/** What a token's header says of the key that signed it. Only a hint, until the signature is checked. */
export interface KeyHint {
  alg: string;
  kid: string | null;
}

/** The public keys of one issuer, wherever they come from. */
export interface KeySource {
  /** All the keys, where they never change; absent where they are fetched. */
  readonly fixed?: readonly VerificationKey[];
  /**
   * The keys that may have signed a token with this header, all of its `alg`: those that its `kid` names, or all when it names
   * none. Empty when no key fits. A token whose `kid` is not here may be answered with all as well, where the keys' ids are not
   * the issuer's own. Answers without a promise when nothing has to be fetched. Rejects with `unavailable` when keys cannot be had.
   */
  find(header: KeyHint): readonly VerificationKey[] | Promise<readonly VerificationKey[]>;
  /** Fetches the keys, so that the first token does not have to wait. Never rejects; absent where nothing is fetched. */
  prefetch?(): Promise<void>;
}

/** Keys that are known from the start and never change. Throws an Error when there are none. */
export function staticKeys(keys: readonly VerificationKey[]): KeySource {
  if (keys.length === 0) throw new Error('an issuer needs at least one key');
  return { fixed: keys, find: (header) => namedKeys(keys, header) ?? ofAlgorithm(keys, header.alg) };
}

/** The keys of this `alg` and `kid`; every key of the `alg` for a token that names none; null when its `kid` is not here. */
export function namedKeys(keys: readonly VerificationKey[], { alg, kid }: KeyHint): readonly VerificationKey[] | null {
  if (kid === null) return ofAlgorithm(keys, alg);
  const named = keys.filter((key) => key.kid === kid && key.alg === alg);
  return named.length > 0 ? named : null;
}

const ofAlgorithm = (keys: readonly VerificationKey[], alg: string) => keys.filter((key) => key.alg === alg);
