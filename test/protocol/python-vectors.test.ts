import { expect } from 'chai'
import { testClient } from './support/client-run.ts'
import { findPython, PythonProcess } from './support/python.ts'

describe('examples/clients/koaws_client.py and docs/protocol-vectors.json', () => {
  let python: PythonProcess

  before(() => {
    python = new PythonProcess(findPython())
  })

  after(async () => {
    await python.stop()
    expect(python.complaints).to.equal('')
  })

  testClient(async (url, app) => python.client(url, app), 'must')
})
