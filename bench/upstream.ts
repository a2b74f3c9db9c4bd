import { z } from 'zod';
import { startGitHubStandIn } from '../dev/github/server.ts';

// The upstream of both servers, in a process of its own.
const { FLOOR_TOKEN } = z.object({ FLOOR_TOKEN: z.string() }).parse(process.env);
const github = await startGitHubStandIn({ token: FLOOR_TOKEN });
process.stderr.write(`${JSON.stringify({ message: 'listening', address: github.url.slice('http://'.length) })}\n`);
