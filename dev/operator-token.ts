import { randomUUID } from 'node:crypto';
import { SignJWT } from 'jose';
import { OPERATOR_ROLES } from '../src/domain/operator.ts';
import { devKey } from './dev-keys.ts';

// Prints a token of an operator of development: ROLE=approver, or several as ROLE=viewer,operator; SUBJECT is who it is.

const ISSUER = 'asb-dev-operators';
const AUDIENCE = 'asb';
const LIFETIME_SECONDS = 3600;

const { ROLE = '', SUBJECT = '' } = process.env;
const subject = SUBJECT === '' ? 'dev-operator' : SUBJECT;
const roles = ROLE.split(',').map((role) => role.trim());
const known: readonly string[] = OPERATOR_ROLES;
if (!roles.every((role) => known.includes(role))) {
  console.error(`ROLE: must be one or several, separated by commas, of ${OPERATOR_ROLES.join(', ')}`);
  process.exit(1);
}

const { privateKey, publicKeyFile } = devKey('.dev', 'operator');
const issuedAt = Math.floor(Date.now() / 1000);
const token = await new SignJWT({ roles })
  .setProtectedHeader({ alg: 'EdDSA', typ: 'JWT' })
  .setIssuer(ISSUER)
  .setAudience(AUDIENCE)
  .setSubject(subject)
  .setIssuedAt(issuedAt)
  .setExpirationTime(issuedAt + LIFETIME_SECONDS)
  .setJti(randomUUID())
  .sign(privateKey);

console.error(
  [
    `${subject} is ${roles.join(', ')} for an hour, to an API that was started with`,
    `ASB_OPERATOR_ISSUER=${ISSUER}`,
    `ASB_OPERATOR_AUDIENCE=${AUDIENCE}`,
    `ASB_OPERATOR_PUBLIC_KEY_FILE=${publicKeyFile}`,
  ].join('\n'),
);
console.log(token);
