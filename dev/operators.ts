import { SignJWT } from 'jose';
import { devKey } from './dev-keys.ts';

const ISSUER = 'https://login.demo.example';
const AUDIENCE = 'asb';

/** People who run and approve, in a demo. */
export interface Operators {
  issuer: string;
  audience: string;
  publicKeyFile: string;
  /** What makes an API without a configuration file trust them. */
  environment: Readonly<Record<string, string>>;
  /** A token of five minutes. */
  token(subject: string, roles: readonly string[]): Promise<string>;
}

/** Makes them, with their issuer's key in a folder. */
export function makeOperators(folder: string): Operators {
  const { privateKey, publicKeyFile } = devKey(folder, 'operators');
  return {
    issuer: ISSUER,
    audience: AUDIENCE,
    publicKeyFile,
    environment: {
      ASB_OPERATOR_ISSUER: ISSUER,
      ASB_OPERATOR_AUDIENCE: AUDIENCE,
      ASB_OPERATOR_PUBLIC_KEY_FILE: publicKeyFile,
    },
    token: (subject, roles) =>
      new SignJWT({ roles })
        .setProtectedHeader({ alg: 'EdDSA' })
        .setIssuer(ISSUER)
        .setAudience(AUDIENCE)
        .setSubject(subject)
        .setIssuedAt()
        .setExpirationTime('5m')
        .sign(privateKey),
  };
}
