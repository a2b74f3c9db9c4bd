import { runApi } from '../bootstrap/run-api.ts';

process.exitCode = await runApi(process.env);
