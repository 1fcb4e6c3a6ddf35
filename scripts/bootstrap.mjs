// Installs the workspace when node_modules does not match the lockfile. Needs only Node and npm.
//
//   node scripts/bootstrap.mjs         what `npm start` and `npm test` need
//   node scripts/bootstrap.mjs --all   the benches, linters, older compilers, clients and middleware of others as well
//
// Plain old syntax up to the version check, so that an old Node can say what is wrong.
const [major, minor] = process.versions.node.split('.').map(Number)

if (major < 20 || (major === 20 && minor < 19)) {
  console.error(
    'bootstrap: Wakerobin needs Node 20.19 or newer; this is Node ' +
      process.version +
      ' (' +
      process.execPath +
      ')',
  )
  process.exit(1)
}

import('./lib/install.mjs')
  .then((install) => install.install({ all: process.argv.includes('--all') }))
  .catch((error) => {
    console.error('bootstrap: ' + (error.isExplained ? error.message : error.stack))
    process.exitCode = 1
  })
