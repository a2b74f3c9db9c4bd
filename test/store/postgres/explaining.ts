/** Options of a connection that tells every plan that is carried out, those inside functions too, by a notice (https://www.postgresql.org/docs/current/auto-explain.html). */
export const EXPLAINING = {
  session_preload_libraries: 'auto_explain',
  'auto_explain.log_min_duration': '0',
  'auto_explain.log_nested_statements': 'on',
  client_min_messages: 'log',
};

/** Options as a DSN's `options` has them. */
export const asDsnOptions = (options: Readonly<Record<string, string>>): string =>
  Object.entries(options)
    .map(([name, value]) => `-c ${name}=${value}`)
    .join(' ');
