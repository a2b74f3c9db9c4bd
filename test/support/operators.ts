import { randomUUID } from 'node:crypto';
import { type IssuerKey, makeIssuerKey } from './issuer-keys.ts';

type Members = Readonly<Record<string, unknown>>;

export interface OperatorTokenOptions {
  now: Date;
  subject?: string;
  /** Values of the roles claim. */
  roles?: readonly string[];
  /** Replaces claims; undefined removes one. */
  claims?: Members;
  header?: Members;
}

/** Who vouches for operators, with a key of its own. */
export interface Operators extends IssuerKey {
  issuer: string;
  audience: string;
  /** A token of one hour. */
  token(options: OperatorTokenOptions): Promise<string>;
}

export function makeOperators(
  issuer = 'https://login.example',
  audience = 'asb',
  alg: IssuerKey['alg'] = 'EdDSA',
): Operators {
  const key = makeIssuerKey(alg);
  return {
    ...key,
    issuer,
    audience,
    token: ({ now, subject = 'olga', roles = ['approver'], claims = {}, header = {} }) => {
      const iat = Math.floor(now.getTime() / 1000);
      const base = { iss: issuer, aud: audience, sub: subject, roles, iat, exp: iat + 3600, jti: randomUUID() };
      return key.sign({ ...base, ...claims }, header);
    },
  };
}
