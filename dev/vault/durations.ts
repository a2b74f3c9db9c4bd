import { z } from 'zod';

const UNITS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };

/** Seconds, as a number or as Vault writes durations: `90`, `90s`, `10m`, `1h` (https://developer.hashicorp.com/vault/docs/concepts/duration-format). */
export const duration = z.union([z.int().min(0), z.string().regex(/^\d+[smhd]?$/)]).transform((value) => {
  if (typeof value === 'number') return value;
  const unit = UNITS[value.slice(-1)];
  return unit === undefined ? Number(value) : Number(value.slice(0, -1)) * unit;
});

/** The system's defaults (https://developer.hashicorp.com/vault/docs/configuration#default_lease_ttl). */
export const SYSTEM_TTL_SECONDS = 768 * 3600;
