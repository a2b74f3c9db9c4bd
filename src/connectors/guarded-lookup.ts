import { lookup as systemLookup, type LookupAddress, type LookupAllOptions } from 'node:dns';
import type { LookupFunction } from 'node:net';
import ipaddr from 'ipaddr.js';

/** A range of addresses in CIDR notation (RFC 4632, RFC 4291 section 2.3). */
export type AddressRange = string;

/** As `dns.lookup` with `all` (https://nodejs.org/docs/latest-v24.x/api/dns.html#dnslookuphostname-options-callback). */
export type LookupAll = (
  hostname: string,
  options: LookupAllOptions,
  callback: (error: NodeJS.ErrnoException | null, addresses?: LookupAddress[]) => void,
) => void;

/** What no name that is resolved may lead to: this machine, this link with its metadata services, and nobody in particular. */
const REFUSED_RANGES: ReadonlySet<string> = new Set([
  'loopback',
  'linkLocal',
  'unspecified',
  'broadcast',
  'multicast',
  'reserved',
  'teredo',
]);
/** Metadata services outside those ranges: AWS over IPv6, Alibaba Cloud, Oracle Cloud. */
const METADATA_SERVICES: ReadonlySet<string> = new Set(['fd00:ec2::254', '100.100.100.200', '192.0.0.192']);

/**
 * Resolves the names of upstreams, and refuses one that leads, in any of its addresses, to this machine, to the link or to a metadata
 * service, so that whoever rules a name cannot send a credential there. `localhost` and addresses are the operator's own words: they
 * never come from an answer. Names of internal networks (RFC 1918) are usual and pass. `allowed` lets ranges pass all the same.
 *
 * Throws an Error for a range that is none.
 */
export function guardedLookup(allowed: readonly AddressRange[], lookup: LookupAll = systemLookup): LookupFunction {
  const ranges = allowed.map((range) => ipaddr.parseCIDR(range));
  const isAllowed = (address: string): boolean => {
    const parsed = reached(ipaddr.process(address));
    if (ranges.some(([network, bits]) => network.kind() === parsed.kind() && parsed.match(network, bits))) return true;
    return !REFUSED_RANGES.has(parsed.range()) && !METADATA_SERVICES.has(parsed.toString());
  };
  return (hostname, options, callback) => {
    lookup(hostname, { ...options, all: true }, (error, addresses) => {
      const [first] = addresses ?? [];
      if (addresses === undefined || first === undefined) {
        callback(error ?? new Error(`${hostname} has no address`), '');
        return;
      }
      const refused = isLocalhost(hostname) ? undefined : addresses.find(({ address }) => !isAllowed(address));
      if (refused !== undefined) callback(new RefusedAddress(hostname, refused.address), '');
      else if (options.all === true) callback(null, addresses);
      else callback(null, first.address, first.family);
    });
  };
}

/** A name led where no upstream is. */
export class RefusedAddress extends Error {
  readonly code = 'ASB_REFUSED_ADDRESS';

  constructor(hostname: string, address: string) {
    super(`${hostname} resolves to ${address}, where no upstream may be; ASB_UPSTREAM_ALLOWED_ADDRESSES names exceptions`);
    this.name = 'RefusedAddress';
  }
}

/** Where the first byte of an IPv4 address is within an IPv6 address that stands for it (RFC 6052 section 2.1, RFC 3056 section 2). */
const EMBEDDED: Readonly<Record<string, number>> = { rfc6052: 12, '6to4': 2 };

/** The address that packets get to in the end. */
function reached(address: ipaddr.IPv4 | ipaddr.IPv6): ipaddr.IPv4 | ipaddr.IPv6 {
  const at = EMBEDDED[address.range()];
  return at === undefined ? address : ipaddr.fromByteArray(address.toByteArray().slice(at, at + 4));
}

const isLocalhost = (hostname: string): boolean => /^(.+\.)?localhost\.?$/i.test(hostname);
