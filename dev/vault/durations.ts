import { z } from 'zod';

const UNITS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };

/** Seconds, as a number or as Vault writes durations: `90`, `90s`, `10m`, `1h` (https://developer.hashicorp.com/vault/docs/concepts/duration-format). */
export const duration = z.union([z.int().min(0), z.string().regex(/^\d+[smhd]?$/)]).transform((value) => {
  if (typeof value === 'number') return value;
  const unit = UNITS[value.slice(-1)];
  return unit === undefined ? Number(value) : Number(value.slice(0, -1)) * unit;
});

/** As Go writes a duration, and so Vault's warnings: `1h0m0s`, `10m0s`, `45s`. */
export function goDuration(seconds: number): string {
  const [hours, minutes, rest] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  if (hours > 0) return `${hours}h${minutes}m${rest}s`;
  return minutes > 0 ? `${minutes}m${rest}s` : `${rest}s`;
}

/** The system's defaults (https://developer.hashicorp.com/vault/docs/configuration#default_lease_ttl). */
export const SYSTEM_TTL_SECONDS = 768 * 3600;
