import { expect, it } from 'vitest';
import { useApp } from './app-setup.ts';

const world = useApp({ basePath: '/api/v3' });

it('tokens are asked for below the base path of a GitHub Enterprise Server', async () => {
  await world().call('repository_metadata');
  expect(world().asked()).toEqual([
    'GET /api/v3/repos/acme/widgets/installation',
    'POST /api/v3/app/installations/4001/access_tokens',
    'GET /api/v3/repos/acme/widgets',
  ]);
});
