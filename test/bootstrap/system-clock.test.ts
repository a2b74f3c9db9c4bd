import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { systemClock } from '../../src/bootstrap/system-clock.ts';

const DAY_MS = 24 * 60 * 60 * 1000;

describe('the system clock', () => {
  beforeEach(() => void vi.useFakeTimers({ now: new Date('2026-01-02T03:04:05Z') }));
  afterEach(() => void vi.useRealTimers());

  test("tells the machine's time", () => {
    expect(systemClock.now()).toEqual(new Date('2026-01-02T03:04:05Z'));
  });

  test('runs a task once, when it is due', () => {
    const task = vi.fn();
    systemClock.schedule(1000, task);
    vi.advanceTimersByTime(999);
    expect(task).not.toHaveBeenCalled();
    vi.advanceTimersByTime(5000);
    expect(task).toHaveBeenCalledTimes(1);
  });

  test('does not run a task that was called off', () => {
    const task = vi.fn();
    const callOff = systemClock.schedule(1000, task);
    callOff();
    vi.advanceTimersByTime(5000);
    expect(task).not.toHaveBeenCalled();
    expect(vi.getTimerCount()).toBe(0);
  });

  test('waits longer than a single timer can', () => {
    const task = vi.fn();
    systemClock.schedule(60 * DAY_MS, task);
    vi.advanceTimersByTime(60 * DAY_MS - 1);
    expect(task).not.toHaveBeenCalled();
    vi.advanceTimersByTime(1);
    expect(task).toHaveBeenCalledTimes(1);
  });

  test('calls off a long wait that is already in its second timer', () => {
    const task = vi.fn();
    const callOff = systemClock.schedule(60 * DAY_MS, task);
    vi.advanceTimersByTime(30 * DAY_MS);
    callOff();
    vi.advanceTimersByTime(60 * DAY_MS);
    expect(task).not.toHaveBeenCalled();
  });
});
