// While coverage is collected, mocha ends a worker that has not exited within a second, and Node writes the coverage at the exit.
if (process.env['NODE_V8_COVERAGE']) process.on('exit', () => process.on('SIGTERM', () => {}))
