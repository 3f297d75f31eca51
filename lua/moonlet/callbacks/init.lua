--- Things that happen during training: `ml.callbacks`.
-- Here: the list of what the folder offers; each is loaded when it is first named. A callback is any object with some of the
-- methods of `moonlet.callbacks.callback`.
-- @module moonlet.callbacks

local CLASSES = {
  Callback = "moonlet.callbacks.callback",
  CSVLogger = "moonlet.callbacks.csv_logger",
  EarlyStopping = "moonlet.callbacks.early_stopping",
  History = "moonlet.callbacks.history",
  Lambda = "moonlet.callbacks.lambda",
  LambdaCallback = "moonlet.callbacks.lambda",
  LearningRateScheduler = "moonlet.callbacks.learning_rate_scheduler",
  ModelCheckpoint = "moonlet.callbacks.model_checkpoint",
  ProgressBar = "moonlet.callbacks.progress_bar",
  TerminateOnNaN = "moonlet.callbacks.terminate_on_nan",
}

return require("moonlet.util").lazy({}, CLASSES)
