"""`lipscore table`: results of several methods in one table, with what their differences are worth."""
