import { expect, it } from 'vitest';
import * as errors from '../../src/domain/errors.ts';

it.each([
  ['invalid_request', errors.invalidRequest],
  ['unauthorized', errors.unauthorized],
  ['not_found', errors.notFound],
  ['conflict', errors.conflict],
  ['resource_budget_exceeded', errors.budgetExceeded],
  ['rate_limited', errors.rateLimited],
  ['delivery_mode_not_implemented', errors.deliveryModeNotImplemented],
  ['upstream_error', errors.upstreamError],
  ['unavailable', errors.unavailable],
  ['deadline_exceeded', errors.deadlineExceeded],
] as const)('%s is made by its constructor', (code, make) => {
  const error = make('say what to change');
  expect(error).toBeInstanceOf(errors.BrokerError);
  expect(error).toBeInstanceOf(Error);
  expect(error).toMatchObject({
    name: 'BrokerError',
    code,
    message: 'say what to change',
    reason: null,
    retryAfterSeconds: null,
  });
  expect('cause' in error).toBe(false);
});

it('a refusal names its rule', () => {
  const error = errors.forbidden('tool_not_in_context', 'add the tool to tool_context', { rule: 'tool_context' });
  expect(error).toMatchObject({
    code: 'forbidden',
    reason: 'tool_not_in_context',
    rule: 'tool_context',
    message: 'add the tool to tool_context',
  });
});

it('keeps the cause for the log and out of what the caller reads', () => {
  const cause = new Error('password authentication failed for user "asb"');
  const error = errors.unavailable('store cannot be reached', { cause, retryAfterSeconds: 2 });
  expect(error.cause).toBe(cause);
  expect(error.retryAfterSeconds).toBe(2);
  expect(error.message).not.toContain('password');
  expect(JSON.stringify(error)).not.toContain('password');
});
