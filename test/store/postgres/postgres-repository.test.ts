import type { Pool } from 'pg';
import type { UnitOfWork } from '../../../src/domain/unit-of-work.ts';
import { PostgresRepository } from '../../../src/store/postgres/postgres-repository.ts';
import { repositoryContract } from '../../contract/repository-contract.ts';
import { emptiedDatabase } from './emptied-database.ts';
import { recordedEvents } from './recorded-events.ts';

const database = emptiedDatabase();

/** The first event that is written after the sequence was set back finds the disk full. */
const FAILING_AUDIT = `
  CREATE SEQUENCE IF NOT EXISTS audit_failures START 2;
  CREATE OR REPLACE FUNCTION fail_once() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN
    IF nextval('audit_failures') = 1 THEN
      RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full';
    END IF;
    RETURN new;
  END $$;
  CREATE OR REPLACE TRIGGER fail_once BEFORE INSERT ON audit_events FOR EACH ROW EXECUTE FUNCTION fail_once()`;
const FAIL_NEXT = `SELECT setval('audit_failures', 1, false)`;

/** Waits with each unit until the failure that it is to meet is arranged. */
class RepositoryWithFailures extends PostgresRepository {
  readonly #pool: Pool;
  #arranged: Promise<unknown> = Promise.resolve();

  constructor(pool: Pool) {
    super({ pool });
    this.#pool = pool;
  }

  failNextAudit(): void {
    this.#arranged = this.#pool.query(FAIL_NEXT);
  }

  override async transact(stage: (unit: UnitOfWork) => void): Promise<void> {
    await this.#arranged;
    return super.transact(stage);
  }
}

repositoryContract('PostgresRepository', async () => {
  const pool = await database.pool();
  await pool.query(FAILING_AUDIT);
  const repository = new RepositoryWithFailures(pool);
  return {
    repository,
    events: () => recordedEvents(pool),
    failNextAudit: () => repository.failNextAudit(),
    close: () => database.empty(),
  };
});
