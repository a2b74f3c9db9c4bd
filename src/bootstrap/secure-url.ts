import { z } from 'zod';
import { isTrustworthy } from '../authn/issuer-url.ts';

const NOT_A_URL = 'must be an http(s) URL without credentials, query or fragment';

/** The URL of a service that credentials or decisions travel to: https, or http on loopback. */
export const secureUrl = z.string().transform((text, context): URL => {
  const url = URL.canParse(text) ? new URL(text) : null;
  const mistake = url === null ? NOT_A_URL : mistakeIn(url);
  if (url !== null && mistake === null) return url;
  context.addIssue({ code: 'custom', message: mistake ?? NOT_A_URL });
  return z.NEVER;
});

function mistakeIn(url: URL): string | null {
  if (!['https:', 'http:'].includes(url.protocol)) return NOT_A_URL;
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') return NOT_A_URL;
  return isTrustworthy(url) ? null : 'must be https: a credential travels to it (http is for loopback only)';
}
