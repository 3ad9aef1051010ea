import { execFileSync } from 'node:child_process';

test('docs/cli.md and docs/rest-api.md say what the commands and the routes say of themselves', () => {
  const output = execFileSync(process.execPath, ['--no-warnings', 'dist/tools/docs.js', '--check'], {
    encoding: 'utf8',
  });
  expect(output).toBe('');
});
