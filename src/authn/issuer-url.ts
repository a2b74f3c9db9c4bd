import { isIP } from 'node:net';

/** Whether a URL leads to this machine only. */
export function isLoopback({ hostname }: URL): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || (isIP(hostname) === 4 && hostname.startsWith('127.'));
}

/**
 * Whether what a URL answers can be trusted to come from whom it names: https, or http on this machine. Keys that decide who may
 * come in travel no other way.
 */
export function isTrustworthy(url: URL): boolean {
  const secure = url.protocol === 'https:' || (url.protocol === 'http:' && isLoopback(url));
  return secure && url.username === '' && url.password === '' && url.hash === '';
}

/**
 * Where an issuer publishes its metadata (OpenID Connect Discovery 1.0 section 4.1).
 * Throws an Error when the issuer is not a URL that keys can be fetched from.
 */
export function discoveryUrl(issuer: string): URL {
  const url = URL.canParse(issuer) ? new URL(issuer) : null;
  if (url === null || !isTrustworthy(url) || /[?#]/.test(issuer)) {
    throw new Error('discovery needs an issuer that is an https URL without query and fragment (http is for loopback only)');
  }
  return new URL(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`);
}
