/** `npm start`: the chat, with a log line for every request. */

import { logger } from '@wakerobin/logger'
import { run } from '@wakerobin/server-node'

import { app } from './app.ts'
import { Room } from './room.ts'

run([logger(), app(new Room())])
