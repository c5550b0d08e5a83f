// What the environment can set; the defaults are those of the service that this one stands for.

export const settings = {
  port: Number(process.env.PORT ?? 3000),
  logDirectory: process.env.LOG_DIRECTORY ?? 'logs',
  logMaxSize: process.env.LOG_MAX_SIZE ?? '20m',
  logMaxFiles: process.env.LOG_MAX_FILES ?? '14d',
  service: process.env.SERVICE ?? 'caredroid-backend',
  environment: process.env.NODE_ENV ?? 'development',
  loadRequestsPerSecond: Number(process.env.LOAD_REQUESTS_PER_SECOND ?? 0),
};
