// Mocha's reporter "dot" that also writes the files of failed tests into the file that KOAWS_FAILED names.
const { appendFileSync } = require('node:fs')
const { reporters, Runner } = require('mocha')

module.exports = class FailedFiles extends reporters.Dot {
  constructor(runner, options) {
    super(runner, options)
    runner.on(Runner.constants.EVENT_TEST_FAIL, (test) => {
      const line = { file: test.file ?? '', title: test.fullTitle() }
      appendFileSync(process.env.KOAWS_FAILED, `${JSON.stringify(line)}\n`)
    })
  }
}
