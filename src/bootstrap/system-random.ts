import { randomInt } from 'node:crypto';

const STEPS = 2 ** 32;

/** A number from 0 up to 1 and never 1, uniform. */
export const systemRandom = (): number => randomInt(STEPS) / STEPS;
