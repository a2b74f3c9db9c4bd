import { configurationTable } from '../bootstrap/configuration-table.ts';

process.stdout.write(configurationTable());
